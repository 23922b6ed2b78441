/* bind.c - the executor on the Linux port, for bindings that do not handle tables of callbacks. */
#include "port.h"

int ota_posix_exec_init(void *workspace, size_t len, const struct ota_exec_options *options, void *posix,
                        struct ota_exec **ex)
{
    struct ota_port port;
    ota_posix_port(posix, &port);
    return ota_exec_init(workspace, len, options, &port, ex);
}

int ota_posix_slots_run(void *posix, int action, uint8_t *block, uint32_t block_len, struct ota_slot_status *out)
{
    struct ota_port port;
    ota_posix_port(posix, &port);
    return ota_slots_run(&port, (enum ota_slot_action)action, block, block_len, out);
}
