// Preloaded into a process: at the nth operation that changes the disk below a
// folder, the process is killed, or the disk is full from then on.
//
// An operation is a call of a function below, for a file in the folder. The kill
// comes before the call. Not covered: half of a write, what the C library's
// streams write by themselves, truncate, link, symlink and copy_file_range.

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

static char folder[4096];
static long kill_at, full_from, count;

// For Python's ctypes. 0 stands for never.
void faults_set(const char* below, long kill_at_, long full_from_) {
  snprintf(folder, sizeof(folder), "%s", below);
  kill_at = kill_at_;
  full_from = full_from_;
  __atomic_store_n(&count, 0, __ATOMIC_SEQ_CST);
}

long faults_count(void) { return __atomic_load_n(&count, __ATOMIC_SEQ_CST); }

// For programs that are not Python.
__attribute__((constructor)) static void from_environment(void) {
  const char* below = getenv("FAULTS_FOLDER");
  const char* kill = getenv("FAULTS_KILL_AT");
  const char* full = getenv("FAULTS_FULL_FROM");
  if (below) { faults_set(below, kill ? atol(kill) : 0, full ? atol(full) : 0); }
}

__attribute__((destructor)) static void to_file(void) {
  const char* path = getenv("FAULTS_COUNT_FILE");
  FILE* file = path ? fopen(path, "w") : NULL;
  if (file) {
    fprintf(file, "%ld", count);
    fclose(file);
  }
}

static int is_below(int directory, const char* path) {
  char whole[8192];
  if (!folder[0] || !path) { return 0; }
  if (path[0] == '/') {
    snprintf(whole, sizeof(whole), "%s", path);
  } else {
    char link[64], parent[4096];
    if (directory == AT_FDCWD) {
      if (!getcwd(parent, sizeof(parent))) { return 0; }
    } else {
      snprintf(link, sizeof(link), "/proc/self/fd/%d", directory);
      const ssize_t length = readlink(link, parent, sizeof(parent) - 1);
      if (length < 0) { return 0; }
      parent[length] = '\0';
    }
    snprintf(whole, sizeof(whole), "%s/%s", parent, path);
  }
  return strncmp(whole, folder, strlen(folder)) == 0;
}

// Whether the operation fails because the disk is full.
static int step(int is_here, int takes_room) {
  if (!is_here) { return 0; }
  const long now = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
  if (now == kill_at) { raise(SIGKILL); }
  if (full_from && now >= full_from && takes_room) {
    errno = ENOSPC;
    return 1;
  }
  return 0;
}

static int step_file(int file, int takes_room) {
  return step(is_below(file, ""), takes_room);
}

#define REAL(type, name, ...)                             \
  static type (*real)(__VA_ARGS__);                       \
  if (!real) { real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name); }

#define MODE(flags)                                       \
  mode_t mode = 0;                                        \
  if (flags & (O_CREAT | O_TMPFILE)) {                    \
    va_list arguments;                                    \
    va_start(arguments, flags);                           \
    mode = va_arg(arguments, mode_t);                     \
    va_end(arguments);                                    \
  }

static int opens_to_write(int directory, const char* path, int flags) {
  return (flags & (O_CREAT | O_TRUNC)) && is_below(directory, path);
}

int open(const char* path, int flags, ...) {
  MODE(flags)
  REAL(int, "open", const char*, int, ...)
  if (step(opens_to_write(AT_FDCWD, path, flags), flags & O_CREAT)) { return -1; }
  return real(path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  MODE(flags)
  REAL(int, "open64", const char*, int, ...)
  if (step(opens_to_write(AT_FDCWD, path, flags), flags & O_CREAT)) { return -1; }
  return real(path, flags, mode);
}
int openat(int directory, const char* path, int flags, ...) {
  MODE(flags)
  REAL(int, "openat", int, const char*, int, ...)
  if (step(opens_to_write(directory, path, flags), flags & O_CREAT)) { return -1; }
  return real(directory, path, flags, mode);
}
int openat64(int directory, const char* path, int flags, ...) {
  MODE(flags)
  REAL(int, "openat64", int, const char*, int, ...)
  if (step(opens_to_write(directory, path, flags), flags & O_CREAT)) { return -1; }
  return real(directory, path, flags, mode);
}
static FILE* open_stream(const char* name, const char* path, const char* how) {
  static FILE* (*real[2])(const char*, const char*);
  const int large = strcmp(name, "fopen64") == 0;
  if (!real[large]) { *(void**)&real[large] = dlsym(RTLD_NEXT, name); }
  const int writes = how[0] != 'r' || strchr(how, '+');
  if (step(writes && is_below(AT_FDCWD, path), how[0] != 'r')) { return NULL; }
  return real[large](path, how);
}
FILE* fopen(const char* path, const char* how) {
  return open_stream("fopen", path, how);
}
FILE* fopen64(const char* path, const char* how) {
  return open_stream("fopen64", path, how);
}

#define WRITES(type, name, parameters, arguments, ...)    \
  type name parameters {                                  \
    REAL(type, #name, __VA_ARGS__)                        \
    if (step_file(file, 1)) { return -1; }                \
    return real arguments;                                \
  }
WRITES(ssize_t, write, (int file, const void* bytes, size_t size),
       (file, bytes, size), int, const void*, size_t)
WRITES(ssize_t, pwrite, (int file, const void* bytes, size_t size, off_t at),
       (file, bytes, size, at), int, const void*, size_t, off_t)
WRITES(ssize_t, pwrite64, (int file, const void* bytes, size_t size, off64_t at),
       (file, bytes, size, at), int, const void*, size_t, off64_t)
WRITES(ssize_t, writev, (int file, const struct iovec* parts, int count_),
       (file, parts, count_), int, const struct iovec*, int)
WRITES(ssize_t, pwritev, (int file, const struct iovec* parts, int count_, off_t at),
       (file, parts, count_, at), int, const struct iovec*, int, off_t)
WRITES(ssize_t, sendfile, (int file, int from, off_t* at, size_t size),
       (file, from, at, size), int, int, off_t*, size_t)
WRITES(ssize_t, sendfile64, (int file, int from, off64_t* at, size_t size),
       (file, from, at, size), int, int, off64_t*, size_t)
WRITES(int, ftruncate, (int file, off_t size), (file, size), int, off_t)
WRITES(int, ftruncate64, (int file, off64_t size), (file, size), int, off64_t)
WRITES(int, fsync, (int file), (file), int)
WRITES(int, fdatasync, (int file), (file), int)

#define CHANGES(name, parameters, arguments, below, takes_room, ...) \
  int name parameters {                                   \
    REAL(int, #name, __VA_ARGS__)                         \
    if (step(below, takes_room)) { return -1; }           \
    return real arguments;                                \
  }
CHANGES(mkdir, (const char* path, mode_t mode), (path, mode),
        is_below(AT_FDCWD, path), 1, const char*, mode_t)
CHANGES(mkdirat, (int directory, const char* path, mode_t mode),
        (directory, path, mode), is_below(directory, path), 1, int, const char*, mode_t)
CHANGES(rmdir, (const char* path), (path), is_below(AT_FDCWD, path), 0, const char*)
CHANGES(unlink, (const char* path), (path), is_below(AT_FDCWD, path), 0, const char*)
CHANGES(unlinkat, (int directory, const char* path, int flags),
        (directory, path, flags), is_below(directory, path), 0, int, const char*, int)
CHANGES(rename, (const char* from, const char* to), (from, to),
        is_below(AT_FDCWD, to), 0, const char*, const char*)
CHANGES(renameat, (int a, const char* from, int b, const char* to),
        (a, from, b, to), is_below(b, to), 0, int, const char*, int, const char*)
CHANGES(renameat2, (int a, const char* from, int b, const char* to, unsigned flags),
        (a, from, b, to, flags), is_below(b, to), 0, int, const char*, int,
        const char*, unsigned)
