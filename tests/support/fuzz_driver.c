// SPDX-License-Identifier: Apache-2.0
// Runs a libFuzzer target over files and folders without an engine, so that every compiler and
// sanitizer can replay a corpus. Also feeds each file truncated at every length up to 256 and with
// each of its first 64 bytes flipped, which makes a small corpus go further.
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long runs;

// A target that plays whole calls takes a tenth of a second for each input: the variants of one file
// end here, so that a corpus stays a smoke test. The file itself always runs.
#define VARIANTS_S 1.0

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run(const uint8_t *data, size_t size)
{
    // An exact-size heap copy lets ASan see the first byte past the end.
    uint8_t *const copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        abort();
    }
    if (size > 0) {
        memcpy(copy, data, size);
    }
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

static void run_variants(uint8_t *data, size_t size)
{
    run(data, size);
    double const end = now_s() + VARIANTS_S;
    for (size_t n = 0; n < size && n <= 256 && now_s() < end; n++) {
        run(data, n);
    }
    for (size_t i = 0; i < size && i < 64 && now_s() < end; i++) {
        static const uint8_t masks[] = {0x01, 0x80, 0xff};
        for (size_t m = 0; m < sizeof(masks); m++) {
            data[i] ^= masks[m];
            run(data, size);
            data[i] ^= masks[m];
        }
    }
}

static int run_file(const char *path)
{
    FILE *const f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        return -1;
    }
    // Larger inputs than this add nothing to a smoke run.
    size_t const cap = 1u << 20;
    uint8_t *const data = malloc(cap);
    if (data == NULL) {
        abort();
    }
    size_t const n = fread(data, 1, cap, f);
    (void)fclose(f);
    run_variants(data, n);
    free(data);
    return 0;
}

static int run_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        perror(path);
        return -1;
    }
    if (!S_ISDIR(st.st_mode)) {
        return run_file(path);
    }
    struct dirent **list = NULL;
    int const n = scandir(path, &list, NULL, alphasort);
    int rc = n < 0 ? -1 : 0;
    for (int i = 0; i < n; i++) {
        if (list[i]->d_name[0] != '.') {
            char child[4096];
            (void)snprintf(child, sizeof(child), "%s/%s", path, list[i]->d_name);
            rc |= run_path(child);
        }
        free(list[i]);
    }
    free(list);
    return rc;
}

int main(int argc, char **argv)
{
    int rc = 0;
    run(NULL, 0);
    for (int i = 1; i < argc; i++) {
        rc |= run_path(argv[i]);
    }
    printf("%lu inputs\n", runs);
    return rc == 0 ? 0 : 1;
}
