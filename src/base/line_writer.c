#include "base/line_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/metric.h"

#define RING_BYTES (256 * 1024) /* a power of two: some thousand lines */
#define PIPE_STEP  4096         /* what a pipe that polls writable takes at once (pipe(7)) */
#define BATCH_MS   2            /* between looks while lines come: they are written together */
#define POLL_MS    100
#define CLOSE_NSEC NSEC_PER_SEC

struct line_ring {
    struct line_writer *writer;
    struct line_ring *next;
    _Atomic size_t head, tail; /* bytes ever put and taken; head is the producer's */
    _Atomic uint64_t lines, dropped;
    char bytes[RING_BYTES];
};

struct line_writer {
    char *path;
    int fd, news; /* the file; an eventfd */
    bool is_regular, is_started;
    pthread_t thread;
    struct line_ring *rings;
    _Atomic bool is_asleep, is_reopening;
    _Atomic uint64_t stop_at; /* monotonic; 0: it goes on */
    _Atomic uint64_t lost;    /* lines that were taken and could not be written */
};

/* ---- the file ---- */

static int file_open(struct line_writer *w)
{
    struct stat st;
    int fd = slice_eq(slice_str(w->path), SLICE("-"))
                 ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
                 : open(w->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0)
        return -1;
    if (w->fd >= 0)
        (void)close(w->fd);
    w->fd = fd;
    w->is_regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    return 0;
}

int line_writer_open(const char *path, struct line_writer **ret, struct fault *fault)
{
    struct line_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return fault_set(fault, ERR_NOMEM, "out of memory");
    w->fd = w->news = -1;
    w->path = slice_dup(slice_str(path));
    w->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->news < 0 || file_open(w) < 0) {
        int error = errno;
        line_writer_close(w);
        return fault_set(fault, ERR_IO, "%s cannot be written to: %s", path, strerror(error));
    }
    *ret = w;
    return 0;
}

/* ---- producers ---- */

struct line_ring *line_writer_ring(struct line_writer *w)
{
    struct line_ring *r = calloc(1, sizeof *r);
    if (r == NULL)
        abort();
    r->writer = w;
    r->next = w->rings;
    w->rings = r;
    return r;
}

static void wake(struct line_writer *w)
{
    uint64_t one = 1;
    if (write(w->news, &one, sizeof one) < 0)
        return; /* it is full: the writer is awake */
}

void line_ring_put(struct line_ring *r, struct slice line)
{
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    size_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    if (line.n > RING_BYTES - (head - tail)) {
        metric_bump(&r->dropped, 1);
        return;
    }
    size_t at = head % RING_BYTES, first = RING_BYTES - at < line.n ? RING_BYTES - at : line.n;
    memcpy(r->bytes + at, line.p, first);
    memcpy(r->bytes, line.p + first, line.n - first);
    atomic_store_explicit(&r->head, head + line.n, memory_order_release);
    metric_bump(&r->lines, 1);
    /* Either we see that the writer sleeps, or it sees our line before it falls asleep. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&r->writer->is_asleep, memory_order_relaxed)) {
        atomic_store_explicit(&r->writer->is_asleep, false, memory_order_relaxed);
        wake(r->writer);
    }
}

void line_writer_counts(struct line_writer *w, uint64_t *ret_lines, uint64_t *ret_dropped)
{
    *ret_lines = 0;
    *ret_dropped = metric_read(&w->lost);
    for (struct line_ring *r = w->rings; r != NULL; r = r->next) {
        *ret_lines += metric_read(&r->lines);
        *ret_dropped += metric_read(&r->dropped);
    }
}

void line_writer_reopen(struct line_writer *w)
{
    atomic_store(&w->is_reopening, true);
    wake(w);
}

/* ---- the thread ---- */

static bool is_late(struct line_writer *w)
{
    uint64_t stop_at = atomic_load(&w->stop_at);
    return stop_at != 0 && clock_monotonic() > stop_at;
}

/* Writes all of it, or says false. A pipe whose reader is slow is waited for, but not past the
 * end. */
static bool write_all(struct line_writer *w, const char *p, size_t n)
{
    while (n > 0) {
        struct pollfd ready = { .fd = w->fd, .events = POLLOUT };
        if (!w->is_regular && poll(&ready, 1, POLL_MS) == 0) {
            if (is_late(w))
                return false;
            continue;
        }
        size_t step = w->is_regular || n < PIPE_STEP ? n : PIPE_STEP;
        ssize_t written = write(w->fd, p, step);
        if (written < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (written <= 0) {
            log_warn("the access log cannot be written", LSTR("file", w->path),
                     LSTR("why", strerror(errno)));
            return false;
        }
        p += written;
        n -= (size_t)written;
    }
    return true;
}

static void count_lost(struct line_writer *w, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] == '\n')
            metric_bump(&w->lost, 1);
}

/* True when there was something. */
static bool drain(struct line_writer *w, struct line_ring *r)
{
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    size_t n = atomic_load_explicit(&r->head, memory_order_acquire) - tail;
    size_t at = tail % RING_BYTES;
    if (n > RING_BYTES - at)
        n = RING_BYTES - at; /* the rest, from the start, in the next round */
    if (n > 0 && !write_all(w, r->bytes + at, n))
        count_lost(w, r->bytes + at, n);
    atomic_store_explicit(&r->tail, tail + n, memory_order_release);
    return n > 0;
}

static bool drain_all(struct line_writer *w)
{
    bool any = false;
    for (struct line_ring *r = w->rings; r != NULL; r = r->next)
        any = drain(w, r) || any;
    return any;
}

static bool is_idle(struct line_writer *w)
{
    for (struct line_ring *r = w->rings; r != NULL; r = r->next)
        if (atomic_load(&r->head) != atomic_load(&r->tail))
            return false;
    return !atomic_load(&w->is_reopening) && atomic_load(&w->stop_at) == 0;
}

static void wait_for_lines(struct line_writer *w)
{
    struct pollfd news = { .fd = w->news, .events = POLLIN };
    uint64_t count;
    atomic_store(&w->is_asleep, true);
    atomic_thread_fence(memory_order_seq_cst);
    if (is_idle(w) && poll(&news, 1, -1) > 0 && read(w->news, &count, sizeof count) < 0)
        log_debug("the access log's wake-up could not be read");
    atomic_store(&w->is_asleep, false);
}

static void *writer_main(void *arg)
{
    struct line_writer *w = arg;
    for (;;) {
        bool was_stopping = atomic_load(&w->stop_at) != 0;
        bool any = drain_all(w);
        if (atomic_exchange(&w->is_reopening, false) && file_open(w) < 0)
            log_warn("the access log cannot be opened again; it goes on into the old file",
                     LSTR("file", w->path), LSTR("why", strerror(errno)));
        if (!any && was_stopping)
            return NULL;
        if (any)
            (void)poll(NULL, 0, BATCH_MS);
        else
            wait_for_lines(w);
    }
}

int line_writer_start(struct line_writer *w, struct fault *fault)
{
    if (pthread_create(&w->thread, NULL, writer_main, w) != 0)
        return fault_set(fault, ERR_LIMIT, "the thread of the access log could not be started");
    (void)pthread_setname_np(w->thread, "access-log");
    w->is_started = true;
    return 0;
}

void line_writer_close(struct line_writer *w)
{
    if (w == NULL)
        return;
    if (w->is_started) {
        atomic_store(&w->stop_at, clock_monotonic() + CLOSE_NSEC);
        wake(w);
        (void)pthread_join(w->thread, NULL);
    }
    while (w->rings != NULL) {
        struct line_ring *r = w->rings;
        w->rings = r->next;
        free(r);
    }
    if (w->fd >= 0)
        (void)close(w->fd);
    if (w->news >= 0)
        (void)close(w->news);
    free(w->path);
    free(w);
}
