/* Preloaded into a process, this counts its calls to the file system once `fault_arm` was called, and at one of them
 * does what a crash or a bad disk does. Between `fault_arm` and `fault_disarm` the process must have one thread.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum action { NOTHING, KILL_BEFORE, KILL_AFTER, KILL_WITHIN, FAIL_ONCE, DISK_FULL };

static int armed, action, error_number;
static long counter, point;
static char names[1 << 16]; /* of the calls that were counted, a blank after each */

void fault_arm(int what, long at, int number)
{
    action = what, point = at, error_number = number, counter = 0, names[0] = 0, armed = 1;
}

long fault_disarm(void)
{
    armed = 0;
    return counter;
}

const char *fault_names(void)
{
    return names;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Counts a call. Whether it must fail with errno set; `consumes`: it is one that a full disk refuses. */
static int counted(const char *name, int consumes)
{
    if (!armed)
        return 0;
    size_t length = strlen(names);
    if (length + strlen(name) + 2 < sizeof names)
        sprintf(names + length, "%s ", name);
    long now = counter++;
    if (action == KILL_BEFORE && now == point)
        die();
    if ((action == FAIL_ONCE && now == point) || (action == DISK_FULL && now >= point && consumes)) {
        errno = error_number;
        return 1;
    }
    return 0;
}

/* The call has been made. */
static void made(void)
{
    if (armed && action == KILL_AFTER && counter - 1 == point) {
        die();
    }
}

static int within(void)
{
    return armed && action == KILL_WITHIN && counter - 1 == point;
}

#define NEXT(type, name) ((type)dlsym(RTLD_NEXT, name))
#define CALL1(result, name, consumes, T1)                                                                              \
    result name(T1 a)                                                                                                  \
    {                                                                                                                  \
        if (counted(#name, consumes))                                                                                  \
            return -1;                                                                                                 \
        result r = NEXT(result(*)(T1), #name)(a);                                                                      \
        made();                                                                                                        \
        return r;                                                                                                      \
    }
#define CALL2(result, name, consumes, T1, T2)                                                                          \
    result name(T1 a, T2 b)                                                                                            \
    {                                                                                                                  \
        if (counted(#name, consumes))                                                                                  \
            return -1;                                                                                                 \
        result r = NEXT(result(*)(T1, T2), #name)(a, b);                                                               \
        made();                                                                                                        \
        return r;                                                                                                      \
    }
#define CALL4(result, name, consumes, T1, T2, T3, T4)                                                                  \
    result name(T1 a, T2 b, T3 c, T4 d)                                                                                \
    {                                                                                                                  \
        if (counted(#name, consumes))                                                                                  \
            return -1;                                                                                                 \
        result r = NEXT(result(*)(T1, T2, T3, T4), #name)(a, b, c, d);                                                 \
        made();                                                                                                        \
        return r;                                                                                                      \
    }

CALL1(int, close, 0, int)
CALL1(int, fsync, 1, int)
CALL1(int, fdatasync, 1, int)
CALL1(int, unlink, 0, const char *)
CALL1(int, rmdir, 0, const char *)
CALL2(int, rename, 1, const char *, const char *)
CALL2(int, link, 1, const char *, const char *)
CALL2(int, symlink, 1, const char *, const char *)
CALL2(int, mkdir, 1, const char *, mode_t)
CALL2(int, chmod, 0, const char *, mode_t)
CALL2(int, fchmod, 0, int, mode_t)
CALL2(int, ftruncate, 1, int, off_t)
CALL2(int, stat, 0, const char *, struct stat *)
CALL2(int, lstat, 0, const char *, struct stat *)
CALL2(int, fstat, 0, int, struct stat *)
CALL4(int, renameat, 1, int, const char *, int, const char *)
CALL4(int, fstatat, 0, int, const char *, struct stat *, int)
#ifdef __GLIBC__
CALL2(int, stat64, 0, const char *, struct stat64 *)
CALL2(int, lstat64, 0, const char *, struct stat64 *)
CALL2(int, fstat64, 0, int, struct stat64 *)
CALL2(int, ftruncate64, 1, int, off64_t)
CALL4(int, fstatat64, 0, int, const char *, struct stat64 *, int)
#endif

ssize_t read(int file, void *data, size_t size)
{
    if (counted("read", 0))
        return -1;
    ssize_t r = NEXT(ssize_t(*)(int, void *, size_t), "read")(file, data, size);
    made();
    return r;
}

/* Killed within a write, half of it has been done. */
ssize_t write(int file, const void *data, size_t size)
{
    ssize_t (*next)(int, const void *, size_t) = NEXT(ssize_t(*)(int, const void *, size_t), "write");
    if (counted("write", 1))
        return -1;
    if (within()) {
        next(file, data, size / 2);
        die();
    }
    ssize_t r = next(file, data, size);
    made();
    return r;
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                      \
        va_end(rest);                                                                                                  \
        if (counted(#name, flags & O_CREAT))                                                                           \
            return -1;                                                                                                 \
        int r = NEXT(int (*)(const char *, int, ...), #name)(path, flags, mode);                                       \
        made();                                                                                                        \
        return r;                                                                                                      \
    }
#define OPENAT(name)                                                                                                   \
    int name(int folder, const char *path, int flags, ...)                                                             \
    {                                                                                                                  \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                      \
        va_end(rest);                                                                                                  \
        if (counted(#name, flags & O_CREAT))                                                                           \
            return -1;                                                                                                 \
        int r = NEXT(int (*)(int, const char *, int, ...), #name)(folder, path, flags, mode);                          \
        made();                                                                                                        \
        return r;                                                                                                      \
    }
#ifndef __O_TMPFILE
#define __O_TMPFILE 0
#endif
OPEN(open)
OPENAT(openat)
#ifdef __GLIBC__
OPEN(open64)
OPENAT(openat64)
#endif
