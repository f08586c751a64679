/* Preloaded into a process, makes its disk fail: calls on files whose path contains FAIL_PATH fail with
 * errno FAIL_ERRNO, or take FAIL_MS longer where that is 0, once FAIL_AFTER of them have gone well.
 * FAIL_CALL is write (pwrite, writev and O_DIRECT writes too), sync (fsync and fdatasync), rename or open. Built by test_failing_disks.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_int calls;

static int fails(const char *call, const char *path) {
    const char *wanted = getenv("FAIL_CALL"), *where = getenv("FAIL_PATH");
    if (!wanted || !where || strcmp(call, wanted) || !strstr(path, where)) return 0;
    if (atomic_fetch_add(&calls, 1) < atoi(getenv("FAIL_AFTER"))) return 0;
    int code = atoi(getenv("FAIL_ERRNO"));
    if (code == 0) {
        long ms = atol(getenv("FAIL_MS"));
        struct timespec wait = {ms / 1000, (ms % 1000) * 1000000};
        nanosleep(&wait, NULL);
        return 0;
    }
    errno = code;
    return 1;
}

static int fails_at(const char *call, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return fails(call, path);
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    return fails_at("write", fd) ? -1 : real(fd, data, size);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    return fails_at("write", fd) ? -1 : real(fd, data, size, at);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    return fails_at("write", fd) ? -1 : real(fd, data, size, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    return fails_at("write", fd) ? -1 : real(fd, parts, count);
}
int fsync(int fd) {
    REAL(fsync);
    return fails_at("sync", fd) ? -1 : real(fd);
}
int fdatasync(int fd) {
    REAL(fdatasync);
    return fails_at("sync", fd) ? -1 : real(fd);
}
int rename(const char *from, const char *to) {
    REAL(rename);
    return fails("rename", to) ? -1 : real(from, to);
}
int open64(const char *path, int flags, ...) {
    REAL(open64);
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return (flags & O_CREAT) && fails("open", path) ? -1 : real(path, flags, mode);
}
int open(const char *path, int flags, ...) {
    REAL(open);
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return (flags & O_CREAT) && fails("open", path) ? -1 : real(path, flags, mode);
}
