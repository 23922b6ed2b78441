"""A package is never much larger for having looked inside: notes within a budget, and the package without views, made
where it might be smaller.

Two things make a package larger that are seen in the whole of it only. A view or an engine inside takes memory that the
codec would have, and all records are larger then; and a codec that finds some bytes elsewhere writes others for what is
behind them. So what is not certain is measured: both packages are made, of deltas that are kept in temporary files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from otastream.cache import DeltaCache
from otastream.deltas.content import FilePayload
from otastream.model import Action, Block, File, Manifest, Ubi
from otastream.options import Fit, PackOptions, engine_memory, engines
from otastream.spool import Demands, Steps
from otastream.stages.diff import diff
from otastream.stages.single import image_expect
from otastream.tree import Ready, Step

MORE: Final = 64
"""Bytes that a package may be larger than without views and notes."""
NOTE_HEAD: Final = 24
"""Bytes of a note beside its text: 4 of its own, and what a codec may write for finding all behind it elsewhere."""
NOTED_MAX: Final = 16 << 20
"""Bytes to be sent above which a note on a file is no reason to make two packages, which takes seconds for that."""
NOTE_MOST: Final = 40
"""Bytes of the text of a note that says why there is no view."""


@dataclass(frozen=True, slots=True)
class Inside:
    """A record that is another one for having been looked into. number: of its step, or of its image. viewed: it has a
    view, else only a note. size: bytes of content; cost: about what its payload takes in a package, of payload bytes
    before the codec; least: what it would take without the view, at the least. certain: nobody made that.
    """

    number: int
    image: bool
    viewed: bool = False
    certain: bool = False
    size: int = 0
    payload: int = 0
    cost: int = 0
    least: int = 0


class Notes:
    """The notes that a package has room for: ``MORE`` bytes of them, and what its views save at the least."""

    def __init__(self) -> None:
        self.room = MORE

    def fit(self, item: Ready, *, saved: bool = False) -> Ready:
        """The item; without the note that says why it has no view, if there is no room for that. saved: in what views
        save alone.
        """
        record = item.record
        if not isinstance(record, File | Block | Ubi) or record.note is None:
            return item
        if is_viewed(record):
            self.room += max(0, item.least - item.cost)
            return item
        note = record.note.encode()[:NOTE_MOST].decode(errors="ignore")
        cost = len(note.encode()) + NOTE_HEAD
        if cost > self.room - (MORE if saved else 0):
            return replace(item, record=replace(record, note=None), raw=None)
        self.room -= cost
        return replace(item, record=replace(record, note=note), raw=None)


def is_viewed(record: Action) -> bool:
    return getattr(record, "new_view", None) is not None or getattr(record, "old_view", None) is not None


def seen(item: Ready, number: int, *, image: bool) -> Inside | None:
    """What there is to be compared of an item; None: it is the same without looking inside."""
    record = item.record
    if not isinstance(record, File | Block | Ubi) or (record.note is None and not is_viewed(record)):
        return None
    if not is_viewed(record) or item.payload is None:
        return Inside(number, image)
    return Inside(number, image, True, item.certain, record.size, item.payload.size, item.cost, item.least)


@dataclass(slots=True)
class Side:
    """One of two ways to send a release: as it was decided, or plain. left_out: bytes that records take at the least
    which it does not have, since it is there to be compared only.
    """

    manifest: Manifest = field(default_factory=lambda: Manifest(0, 0, ()))
    asked: Demands = field(default_factory=Demands)
    images: list[Ready] = field(default_factory=list)
    plain: bool = False
    left_out: int = 0


@dataclass(slots=True)
class Work:
    """A release that was planned: the spooled steps, and what is sent around them. wanted: a step for each image;
    first_image: the number of the expect of the first one. inside: the records that looking inside has changed. notes:
    what is to be told about images, by target. settled: every payload is decided, and can be sent more than once.
    """

    steps: Steps
    wanted: list[Step]
    begin: list[Step]
    end: list[Step]
    cache: DeltaCache | None
    options: PackOptions
    first_image: int = 1
    side: Side = field(default_factory=Side)
    inside: list[Inside] = field(default_factory=list)
    notes: list[tuple[bytes, str]] = field(default_factory=list)
    settled: bool = False
    room: Notes = field(default_factory=Notes)

    def certain(self, made: Fit, other: Fit) -> bool:
        """Whether it need not be measured that this package is not the larger one. made: how it is compressed; other:
        how the plain one would be.
        """
        if not self.inside:
            return True
        viewed = [item for item in self.inside if item.viewed]
        same = (made.codec, made.window_log, made.frame_log) == (other.codec, other.window_log, other.frame_log)
        costs = sum(item.cost if made.codec is other.codec else item.payload for item in viewed)
        saved = sum(item.least for item in viewed) - costs
        beside = 0 if same else self.steps.bytes - sum(item.size for item in viewed)
        return saved > beside + len(self.inside) * (NOTE_HEAD + NOTE_MOST)

    def settle(self) -> None:
        """Decide on all that is not yet decided, so that it can be sent more than once."""
        numbers, done = self.steps.undecided(), 0
        for number, item in zip(numbers, self._deltas(map(self.steps.delta, numbers)), strict=True):
            self.steps.decide(number, item)
            done += getattr(item.record, "size", 0)
            self.options.report("pack", done, self.steps.bytes, getattr(item.record, "path", b""))
        self.settled = True
        self.side.images = [self._kept(item) for item in self.side.images]

    def other(self, *, whole: bool) -> Side:
        """The plain package, after ``settle``. whole: with the deltas that nobody has made; else it is without them."""
        absent = [item for item in self.inside if item.certain and not whole]
        self.steps.left_out = frozenset(item.number for item in absent if not item.image)
        images = dict(enumerate(self.side.images))
        for item in self.inside:
            if item in absent:
                images.pop(item.number if item.image else -1, None)
            elif item.image:
                images[item.number] = self._plain_image(item)
            elif not self.steps.has_plain(item.number):
                self._plain_file(item)
        asked = self.steps.asked.and_also(Demands())
        for number, ready in images.items():
            asked.record(ready.record)
            if isinstance(ready.record, Block | Ubi):
                self.steps.also_expect(self.first_image + number, image_expect(ready.record, ready.scratch))
        manifest = replace(self.side.manifest, needs=tuple(sorted(asked.needs)))
        return Side(manifest, asked, list(images.values()), True, sum(item.least for item in absent))

    def _plain_image(self, item: Inside) -> Ready:
        old = self.side.images[item.number]
        if not item.viewed:
            return replace(old, record=bare(old.record), raw=None)
        (made,) = self._deltas([self.wanted[item.number]])
        return self._kept(made)

    def _plain_file(self, item: Inside) -> None:
        step = self.steps.delta(item.number)
        if step.action is None:
            raise ValueError("a step without an action was decided")
        action = bare(step.action)
        if not item.viewed:
            self.steps.plain(item.number, action)
            return
        (made,) = self._deltas([replace(step, action=action, raw=None, made=None)])
        self.steps.plain(item.number, made.record, made.payload)

    def _deltas(self, steps: Iterable[Step]) -> Iterator[Ready]:
        """Without views."""
        options = self.options
        tried, memory = engines(options), engine_memory(options)
        return diff(steps, engines=tried, memory=memory, jobs=options.jobs, cache=self.cache, scratch=options.scratch)

    def _kept(self, item: Ready) -> Ready:
        """With a payload that can be sent more than once."""
        if item.payload is None or isinstance(item.payload, FilePayload):
            return item
        return replace(item, payload=self.steps.keep(item.payload))


def bare(action: Action) -> Action:
    """The record as it is if nobody looks inside."""
    if not isinstance(action, File | Block | Ubi):
        return action
    return replace(action, old_view=None, new_view=None, note=None)
