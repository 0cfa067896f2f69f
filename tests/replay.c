/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay: a plain main for a libFuzzer target. Every file named on the command line, and every file of every
 * folder named there, goes through LLVMFuzzerTestOneInput once. A crash or a sanitizer report is the failure.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static long n_run;

static void replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f || fstat(fileno(f), &st) != 0) {
        fprintf(stderr, "replay: cannot read %s\n", path);
        exit(1);
    }
    size_t n = (size_t)st.st_size;
    uint8_t *p = malloc(n ? n : 1); /* exact size: a sanitizer sees one byte too far */
    if (!p || fread(p, 1, n, f) != n) {
        fprintf(stderr, "replay: cannot read %s\n", path);
        exit(1);
    }
    fclose(f);
    LLVMFuzzerTestOneInput(p, n);
    free(p);
    n_run++;
}

static void replay_path(const char *path)
{
    DIR *d = opendir(path);
    if (!d) {
        replay_file(path);
        return;
    }
    for (struct dirent *e; (e = readdir(d));) {
        char sub[4096];
        if (e->d_name[0] == '.') continue;
        snprintf(sub, sizeof sub, "%s/%s", path, e->d_name);
        replay_path(sub);
    }
    closedir(d);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) replay_path(argv[i]);
    printf("replayed %ld inputs\n", n_run);
    return n_run ? 0 : 1;
}
