// The clock of a process as somebody sets it: a number of nanoseconds, in a file that CLOCK_OFFSET names, is
// added to the time of day. The monotonic clock stays as it is, as when a machine's clock is set.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("CLOCK_OFFSET");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) offset = mapped;
  if (file >= 0) close(file);
}

static void move(struct timespec *time, int64_t by) {
  int64_t nanoseconds = time->tv_nsec + by % 1000000000;
  time->tv_sec += by / 1000000000 + (nanoseconds >= 1000000000) - (nanoseconds < 0);
  time->tv_nsec = nanoseconds + (nanoseconds < 0 ? 1000000000 : 0) - (nanoseconds >= 1000000000 ? 1000000000 : 0);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  int failed = (int)syscall(SYS_clock_gettime, clock, time);
  if (!failed && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) move(time, *offset);
  return failed;
}

int gettimeofday(struct timeval *restrict value, void *restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  value->tv_sec = now.tv_sec;
  value->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *place) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (place) *place = now.tv_sec;
  return now.tv_sec;
}

// The kernel waits until a time of its own clock.
static struct timespec real(const struct timespec *until) {
  struct timespec moved = *until;
  if (offset) move(&moved, -*offset);
  return moved;
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
  struct timespec moved = real(until);
  return sem_clockwait(semaphore, CLOCK_REALTIME, &moved);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
  struct timespec moved = real(until);
  return pthread_mutex_clocklock(mutex, CLOCK_REALTIME, &moved);
}
