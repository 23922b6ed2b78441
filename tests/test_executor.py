"""native.Executor: the lock, what failures become, the tick, and leaving early."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import xxhash

from otastream.container import encode
from otastream.errors import CallerError, Code, DeviceError, MismatchError, OtaError
from otastream.model import (
    ABSENT,
    Chunk,
    End,
    EngineId,
    Event,
    ExpectTree,
    File,
    FileState,
    Head,
    Manifest,
    Record,
    Script,
    Tail,
    When,
)
from otastream.native import ExecOptions, Executor, Phase, Report

CONTENT = b"new content " * 20_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "tmp").mkdir()
    return tmp_path / "root"


def executor(root: Path, **more: object) -> Executor:
    return Executor(root, root.parent / "tmp", **more)  # type: ignore[arg-type]


def with_payload(record: Record, payload: bytes) -> Iterator[Event]:
    yield Head(record)
    for start in range(0, len(payload), 60_000):
        yield Chunk(payload[start : start + 60_000])
    yield Tail()


def stream(path: bytes = b"file", *, end_script: bytes | None = None) -> bytes:
    """A record stream that makes one file."""
    digest = xxhash.xxh64_intdigest(CONTENT)
    needs = ("file", "full") if end_script is None else ("file", "full", "script")

    def events() -> Iterator[Event]:
        yield Head(Manifest(1 + (end_script is not None), len(CONTENT) + len(end_script or b""), needs))
        yield Head(ExpectTree(path, ABSENT, FileState(len(CONTENT), digest)))
        if end_script is not None:
            script = Script(When.END, len(end_script), xxhash.xxh64_intdigest(end_script))
            yield from with_payload(script, end_script)
        yield from with_payload(File(path, len(CONTENT), digest, 0o644, engine=EngineId.FULL), CONTENT)
        yield Head(End())

    return b"".join(bytes(piece) for piece in encode(events()))


def run(root: Path, data: bytes, **more: object) -> Report:
    with executor(root, **more) as opened:
        opened.feed(data)
        return opened.finish()


def test_report_of_a_whole_update(root: Path) -> None:
    data = stream()
    with executor(root) as opened:
        assert [opened.feed(data[i : i + 1000]) for i in range(0, len(data), 1000)][-2:] == [False, True]
        report = opened.finish()
    assert (root / "file").read_bytes() == CONTENT
    assert (report.code, report.changed, report.target, report.detail) == (None, True, report.target, "")
    assert (report.records_done, report.records_total, report.skipped) == (1, 1, 0)
    assert (report.bytes_total, report.bytes_written) == (len(CONTENT), len(CONTENT))
    assert opened.report == report  # still there after the executor was left
    again = run(root, data)
    assert (again.skipped, again.bytes_written) == (1, 0)


def test_dry_run_changes_nothing(root: Path) -> None:
    report = run(root, stream(), options=ExecOptions(dry_run=True))
    assert not report.changed
    assert list(root.iterdir()) == []


def test_failure_names_code_target_and_record(root: Path) -> None:
    (root / "file").write_bytes(b"something else")
    with pytest.raises(MismatchError) as caught:
        run(root, stream())
    assert caught.value.code is Code.TARGET
    assert caught.value.target is not None
    assert caught.value.target.endswith("file")
    assert caught.value.record == 1
    assert (root / "file").read_bytes() == b"something else"


def test_name_that_is_not_utf8(root: Path) -> None:
    (root / "x").touch()
    (root / "x").rename(root / b"f\xff".decode(errors="surrogateescape"))
    with pytest.raises(MismatchError) as caught:
        run(root, stream(b"f\xff"))
    assert caught.value.target is not None
    assert caught.value.target.encode(errors="surrogateescape").endswith(b"f\xff")


def test_reason_of_the_system_is_told(root: Path) -> None:
    (root.parent / "tmp").rmdir()
    with pytest.raises(OtaError) as caught:
        run(root, stream())
    assert "No such file or directory" in str(caught.value)


def test_two_executors_never_work_on_one_root(root: Path) -> None:
    with executor(root):
        with pytest.raises(CallerError) as caught:
            run(root, stream())
        assert caught.value.code is Code.LOCKED
    run(root, stream())


def test_stream_that_ends_early(root: Path) -> None:
    with pytest.raises(OtaError) as caught:
        run(root, stream()[:-1])
    assert caught.value.code.who == "package"


@pytest.mark.parametrize(
    "options", [ExecOptions(window=1), ExecOptions(block_buffer=100), ExecOptions(header_max=1 << 20)]
)
def test_buffers_out_of_range(root: Path, options: ExecOptions) -> None:
    with pytest.raises(CallerError) as caught:
        run(root, stream(), options=options)
    assert caught.value.code is Code.USAGE
    run(root, stream())  # the lock was given back


# ---- the tick --------------------------------------------------------------------------------------------------


def test_tick_sees_progress(root: Path) -> None:
    seen: list[Report] = []

    def tick(report: Report) -> None:
        seen.append(report)

    run(root, stream(), tick=tick)
    assert {report.phase for report in seen} >= {Phase.UPDATE}
    done = [report.bytes_done for report in seen]
    assert done == sorted(done)
    assert done[-1] > 0


def test_tick_can_stop(root: Path) -> None:
    with pytest.raises(CallerError) as caught:
        run(root, stream(), tick=lambda _: True)
    assert caught.value.code is Code.CANCELLED
    assert list(root.iterdir()) == []
    run(root, stream())


class _Stop(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize("kind", [_Stop, KeyboardInterrupt])
def test_exception_of_a_tick_comes_out_as_it_is(root: Path, kind: type[BaseException]) -> None:
    calls = 0

    def tick(report: Report) -> None:
        nonlocal calls
        calls += 1
        raise kind

    with pytest.raises(kind):
        run(root, stream(end_script=b"echo $OTA_STATUS > $OTA_ROOT/status"), tick=tick)
    assert calls == 1  # it is not asked again, and the end script can run
    assert not (root / "file").exists()


# ---- leaving ---------------------------------------------------------------------------------------------------


def test_leaving_early_runs_the_end_script(root: Path) -> None:
    data = stream(end_script=b"echo $OTA_STATUS > $OTA_ROOT/status")
    with pytest.raises(_Stop), executor(root) as opened:
        opened.feed(data[: len(data) // 2])
        raise _Stop
    assert opened.report.code is Code.INTERNAL
    assert (root / "status").read_text().strip() == "-1"
    assert not (root / "file").exists()
    run(root, data)
    assert (root / "status").read_text().strip() == "0"


def test_finish_with_the_failure_of_somebody_else(root: Path) -> None:
    data = stream()
    with executor(root) as opened:
        opened.feed(data[:100])
        with pytest.raises(OtaError) as caught:
            opened.finish(DeviceError(Code.IO))
    assert caught.value.code is Code.IO


def test_calls_out_of_order(root: Path) -> None:
    closed = executor(root)
    for call in (lambda: closed.feed(b""), closed.finish, lambda: closed.report):
        with pytest.raises(CallerError):
            call()
    with executor(root) as opened:
        opened.feed(stream())
        opened.finish()
        with pytest.raises(CallerError):
            opened.finish()
