/* Loaded into a server by LD_PRELOAD: while the file $STALL exists, no sync of a file ends. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_for_disk(void) {
    const char *stall = getenv("STALL");
    while (stall && !access(stall, F_OK)) usleep(5000);
}

#define WAITING(name)                                         \
    int name(int fd) {                                        \
        static int (*original)(int);                          \
        if (!original) original = dlsym(RTLD_NEXT, #name);    \
        wait_for_disk();                                      \
        return original(fd);                                  \
    }

WAITING(fsync)
WAITING(fdatasync)
