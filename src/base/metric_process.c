/* What the process itself uses, from /proc/self: the names that every Prometheus client has. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/metric.h"
#include "base/text.h"

#define STAT_START_FIELD 20 /* starttime, counted from the state behind the name (proc(5)) */

/* Open descriptors; the one that counts is not counted. */
static int count_descriptors(uint64_t *ret)
{
    DIR *dir = opendir("/proc/self/fd");
    uint64_t n = 0;
    if (dir == NULL)
        return ERR_IO;
    while (readdir(dir) != NULL)
        n++;
    (void)closedir(dir);
    *ret = n >= 3 ? n - 3 : 0; /* ".", "..", and the directory's own */
    return 0;
}

static int read_file(const char *path, char *text, size_t size)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return ERR_IO;
    size_t n = fread(text, 1, size - 1, f);
    (void)fclose(f);
    text[n] = 0;
    return n > 0 ? 0 : ERR_IO;
}

static void memory(struct strb *to)
{
    char text[128];
    struct slice rest, word;
    uint64_t pages[2] = { 0 };
    if (read_file("/proc/self/statm", text, sizeof text) < 0)
        return;
    rest = slice_str(text);
    for (size_t i = 0; i < 2 && slice_split(&rest, ' ', &word); i++)
        if (slice_u64(word, UINT64_MAX, &pages[i]) < 0)
            return;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    metric_head(to, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.");
    strb_fmt(to, "process_virtual_memory_bytes %" PRIu64 "\n", pages[0] * page);
    metric_head(to, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.");
    strb_fmt(to, "process_resident_memory_bytes %" PRIu64 "\n", pages[1] * page);
}

/* When the process was started, seconds since 1970: boot time from the clocks, and what
 * /proc/self/stat says in ticks after boot. */
static void start_time(struct strb *to)
{
    char text[1024];
    struct timespec wall, boot;
    uint64_t ticks;
    if (read_file("/proc/self/stat", text, sizeof text) < 0)
        return;
    struct slice rest = slice_str(text), word = { 0 };
    rest = slice_sub(rest, slice_find_last(rest, ')') + 2, SIZE_MAX);
    for (unsigned i = 0; i < STAT_START_FIELD; i++)
        if (!slice_split(&rest, ' ', &word))
            return;
    long hz = sysconf(_SC_CLK_TCK);
    if (hz <= 0 || slice_u64(word, UINT64_MAX, &ticks) < 0 ||
        clock_gettime(CLOCK_REALTIME, &wall) < 0 || clock_gettime(CLOCK_BOOTTIME, &boot) < 0)
        return;
    double at = (double)wall.tv_sec - (double)boot.tv_sec +
                (double)(wall.tv_nsec - boot.tv_nsec) / 1e9 + (double)ticks / (double)hz;
    metric_head(to, "process_start_time_seconds", "gauge",
                "Start time of the process since unix epoch in seconds.");
    strb_fmt(to, "process_start_time_seconds %.2f\n", at);
}

static void processor_time(struct strb *to)
{
    struct rusage use;
    if (getrusage(RUSAGE_SELF, &use) < 0)
        return;
    double seconds = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                     (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    metric_head(to, "process_cpu_seconds_total", "counter",
                "Total user and system CPU time spent in seconds.");
    strb_fmt(to, "process_cpu_seconds_total %.6f\n", seconds);
}

static void descriptors(struct strb *to)
{
    struct rlimit limit;
    uint64_t open;
    if (count_descriptors(&open) == 0) {
        metric_head(to, "process_open_fds", "gauge", "Number of open file descriptors.");
        strb_fmt(to, "process_open_fds %" PRIu64 "\n", open);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        metric_head(to, "process_max_fds", "gauge", "Maximum number of open file descriptors.");
        strb_fmt(to, "process_max_fds %" PRIu64 "\n", (uint64_t)limit.rlim_cur);
    }
}

void metric_process_page(struct strb *to, const char *build_labels)
{
    metric_head(to, "build_info", "gauge", "Build and version information");
    strb_fmt(to, "build_info{%s} 1\n", build_labels);
    processor_time(to);
    descriptors(to);
    memory(to);
    start_time(to);
}
