/* fuzz_keys.c - any text as a file of trusted keys.
 *
 * What is accepted has at least one key and no more than there is room for; the same text again adds the same keys. The
 * digest that makes key ids is zero here (include/sodium), base64 is libsodium's own.
 */
#include "../../csrc/board/keys.c"
#include "../../csrc/board/memory.c"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct board_keys keys;
    char text[FILE_MAX + 1];
    unsigned count;
    if (size > FILE_MAX || memchr(data, '\0', size) != NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    memset(&keys, 0, sizeof keys);
    if (parse_pem(&keys, text) != NULL)
        return 0;
    count = keys.count;
    MUST(count > 0 && count <= BOARD_KEYS_MAX);
    if (parse_pem(&keys, text) == NULL)
        MUST(keys.count == 2 * count && memcmp(keys.key[0], keys.key[count], sizeof keys.key[0]) == 0);
    else
        MUST(2 * count > BOARD_KEYS_MAX);
    return 0;
}
