/* error.c - the error list of otastream.h at run time. */
#include "otastream.h"

struct entry {
    int code;
    const char *name;
    const char *who;
    const char *text;
};

static const struct entry entries[] = {
#define ENTRY(name, code, who, text) {code, #name, who, text},
    OTA_ERRORS(ENTRY)
#undef ENTRY
};

#define COUNT ((int)(sizeof entries / sizeof entries[0]))

static int known(int index)
{
    return index >= 0 && index < COUNT;
}

int ota_error_count(void)
{
    return COUNT;
}

int ota_error_code(int index)
{
    return known(index) ? entries[index].code : -1;
}

int ota_error_index(int code)
{
    for (int i = 0; i < COUNT; i++)
        if (entries[i].code == code)
            return i;
    return -1;
}

const char *ota_error_name(int index)
{
    return known(index) ? entries[index].name : "";
}

const char *ota_error_who(int index)
{
    return known(index) ? entries[index].who : "";
}

const char *ota_error_text(int index)
{
    return known(index) ? entries[index].text : "";
}
