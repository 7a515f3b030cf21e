/* A disk that takes its time: preloaded, every fsync and fdatasync first waits as many milliseconds as the file $SLOW_DISK says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void wait_for_the_disk(void)
{
    const char *path = getenv("SLOW_DISK");
    char text[16];
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    text[length > 0 ? length : 0] = 0;
    long left = atol(text);
    struct timespec pause = { left / 1000, left % 1000 * 1000000 };
    nanosleep(&pause, NULL);
}

int fsync(int file)
{
    wait_for_the_disk();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int fdatasync(int file)
{
    wait_for_the_disk();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(file);
}
