/* Loaded into a server by LD_PRELOAD. Keeps copies of the files in $REAL in the folder $SHADOW, each with what
 * is certainly on disk: a copy gets what was written when the file is synced, and nothing else. With $LIES, a
 * sync of a file whose name ends so does nothing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 4096
#define BLOCKS (1 << 16)
#define FILES 8

struct copied {
    char name[64];
    unsigned char dirty[BLOCKS];
};

#define ORIGINAL(type, name, parameters)                      \
    static type(*original) parameters;                        \
    if (!original) original = dlsym(RTLD_NEXT, #name)

static ssize_t original_pwrite(int fd, const void *data, size_t size, off_t at) {
    ORIGINAL(ssize_t, pwrite, (int, const void *, size_t, off_t));
    return original(fd, data, size, at);
}

static struct copied files[FILES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The name of a path below $REAL, else null. */
static const char *below(const char *path) {
    const char *real = getenv("REAL");
    size_t length = real ? strlen(real) : 0;
    if (!length || strncmp(path, real, length) || path[length] != '/') return NULL;
    return strchr(path + length + 1, '/') ? NULL : path + length + 1;
}

/* The file that a descriptor leads to. Called with the lock. */
static struct copied *find(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return NULL;
    path[length] = 0;
    const char *name = below(path);
    if (!name || strlen(name) >= sizeof files[0].name) return NULL;
    for (int i = 0; i < FILES; i++) {
        if (!files[i].name[0]) strcpy(files[i].name, name);
        if (!strcmp(files[i].name, name)) return &files[i];
    }
    abort();
}

static void shadow(const char *name, char *path, size_t size) {
    snprintf(path, size, "%s/%s", getenv("SHADOW"), name);
}

static void wrote(int fd, off_t at, ssize_t count) {
    if (count <= 0 || at < 0) return;
    pthread_mutex_lock(&lock);
    struct copied *file = find(fd);
    for (off_t block = at / BLOCK; file && block <= (at + count - 1) / BLOCK; block++) {
        if (block >= BLOCKS) abort();
        file->dirty[block] = 1;
    }
    pthread_mutex_unlock(&lock);
}

/* Opens no file of the database: closing it would drop the locks that SQLite has on it. */
static void synced(int fd) {
    pthread_mutex_lock(&lock);
    struct copied *file = find(fd);
    const char *lies = getenv("LIES");
    size_t name = file ? strlen(file->name) : 0, end = lies ? strlen(lies) : 0;
    if (file && !(end && name >= end && !strcmp(file->name + name - end, lies))) {
        char path[4096], block[BLOCK];
        shadow(file->name, path, sizeof path);
        struct stat status;
        int to = open(path, O_WRONLY | O_CREAT, 0600);
        if (to < 0 || fstat(fd, &status) || ftruncate(to, status.st_size)) abort();
        for (off_t at = 0; at < BLOCKS; at++) {
            if (!file->dirty[at]) continue;
            file->dirty[at] = 0;
            ssize_t count = pread(fd, block, BLOCK, at * BLOCK);
            if (count < 0 || (count && original_pwrite(to, block, count, at * BLOCK) != count)) abort();
        }
        close(to);
    }
    pthread_mutex_unlock(&lock);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    ssize_t count = original_pwrite(fd, data, size, at);
    wrote(fd, at, count);
    return count;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) {
    return pwrite(fd, data, size, at);
}

ssize_t write(int fd, const void *data, size_t size) {
    ORIGINAL(ssize_t, write, (int, const void *, size_t));
    ssize_t count = original(fd, data, size);
    /* Fails for what is no file. */
    off_t end = lseek(fd, 0, SEEK_CUR);
    wrote(fd, end - count, count);
    return count;
}

int fsync(int fd) {
    ORIGINAL(int, fsync, (int));
    int result = original(fd);
    if (!result) synced(fd);
    return result;
}

int fdatasync(int fd) {
    ORIGINAL(int, fdatasync, (int));
    int result = original(fd);
    if (!result) synced(fd);
    return result;
}

/* As if the folder were synced at once: SQLite does that where it counts. */
int unlink(const char *path) {
    ORIGINAL(int, unlink, (const char *));
    const char *name = below(path);
    if (name) {
        char copy[4096];
        shadow(name, copy, sizeof copy);
        original(copy);
    }
    return original(path);
}
