/* replay.c - give a fuzz target the inputs of a corpus: files, or all files of folders. For builds without libFuzzer.
 */
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned long inputs;

static void replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    uint8_t *data;
    size_t n;
    if (f == NULL || fstat(fileno(f), &st) != 0 || (data = malloc((size_t)st.st_size + 1)) == NULL) {
        perror(path);
        exit(2);
    }
    n = fread(data, 1, (size_t)st.st_size, f);
    fclose(f);
    /* exactly as large as it is, so that a read behind it is seen */
    data = realloc(data, n > 0 ? n : 1);
    (void)LLVMFuzzerTestOneInput(data, n);
    free(data);
    inputs++;
}

static void replay(const char *path)
{
    DIR *d = opendir(path);
    const struct dirent *e;
    char full[4096];
    if (d == NULL) {
        replay_file(path);
        return;
    }
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] != '.' && snprintf(full, sizeof full, "%s/%s", path, e->d_name) < (int)sizeof full)
            replay(full);
    }
    closedir(d);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%lu inputs\n", inputs);
    return inputs == 0;
}
