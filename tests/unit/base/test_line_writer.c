#include "base/line_writer.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/metric.h"
#include "test.h"

#define LINES 20000

struct place {
    char dir[64], file[96], old[96];
};

static void place_make(struct place *p)
{
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/adit-lines-XXXXXX");
    assert_true(mkdtemp(p->dir) != NULL);
    (void)snprintf(p->file, sizeof p->file, "%s/log", p->dir);
    (void)snprintf(p->old, sizeof p->old, "%s/log.1", p->dir);
}

static void place_remove(struct place *p)
{
    (void)unlink(p->file);
    (void)unlink(p->old);
    assert_true(rmdir(p->dir) == 0);
}

static struct line_writer *open_writer(const char *path)
{
    struct line_writer *w;
    struct fault fault;
    assert_true(line_writer_open(path, &w, &fault) == 0);
    return w;
}

static void start(struct line_writer *w)
{
    struct fault fault;
    assert_true(line_writer_start(w, &fault) == 0);
}

static size_t lines_of(const char *path, const char *word)
{
    char line[256];
    size_t n = 0;
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        n += strstr(line, word) != NULL && line[strlen(line) - 1] == '\n';
    if (f != NULL)
        (void)fclose(f);
    return n;
}

static void *produce(void *ring)
{
    char line[64];
    for (int i = 0; i < LINES; i++) {
        int n = snprintf(line, sizeof line, "whole line %d of many\n", i);
        line_ring_put(ring, slice_of(line, (size_t)n));
    }
    return NULL;
}

TEST(every_line_is_written_or_counted_as_dropped)
{
    struct place p;
    place_make(&p);
    struct line_writer *w = open_writer(p.file);
    struct line_ring *rings[2] = { line_writer_ring(w), line_writer_ring(w) };
    pthread_t threads[2];
    struct stat st;
    uint64_t lines, dropped;
    start(w);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, produce, rings[i]) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    line_writer_counts(w, &lines, &dropped);
    CHECK(lines + dropped == 2 * LINES);
    line_writer_close(w);
    CHECK(lines_of(p.file, "of many") == lines);
    CHECK(stat(p.file, &st) == 0 && (st.st_mode & 0777) == 0600);
    place_remove(&p);
}

TEST(a_reader_that_does_not_read_costs_lines_and_nobody_waits_for_it)
{
    struct place p;
    uint64_t lines, dropped;
    place_make(&p);
    CHECK(mkfifo(p.file, 0600) == 0);
    int reader = open(p.file, O_RDONLY | O_NONBLOCK);
    struct line_writer *w = open_writer(p.file);
    struct line_ring *r = line_writer_ring(w);
    start(w);
    (void)produce(r);
    line_writer_counts(w, &lines, &dropped);
    CHECK(dropped > 0 && lines + dropped == LINES);
    line_writer_close(w); /* comes back */
    (void)close(reader);
    place_remove(&p);
}

TEST(the_file_is_opened_anew_when_it_was_rotated)
{
    struct place p;
    place_make(&p);
    struct line_writer *w = open_writer(p.file);
    struct line_ring *r = line_writer_ring(w);
    start(w);
    line_ring_put(r, SLICE("before\n"));
    while (lines_of(p.file, "before") == 0)
        (void)usleep(1000);
    CHECK(rename(p.file, p.old) == 0);
    line_ring_put(r, SLICE("still\n"));
    while (lines_of(p.old, "still") == 0)
        (void)usleep(1000);
    line_writer_reopen(w);
    while (access(p.file, F_OK) < 0)
        (void)usleep(1000);
    line_ring_put(r, SLICE("after\n"));
    line_writer_close(w);
    CHECK(lines_of(p.file, "after") == 1 && lines_of(p.old, "before") == 1);
    place_remove(&p);
}

TEST(a_file_that_cannot_be_written_is_told_by_its_name)
{
    struct line_writer *w;
    struct fault fault;
    CHECK(line_writer_open("/nowhere/at/all", &w, &fault) == ERR_IO);
    CHECK(strstr(fault.text, "/nowhere/at/all") != NULL);
}

TESTS(RUN(every_line_is_written_or_counted_as_dropped),
      RUN(a_reader_that_does_not_read_costs_lines_and_nobody_waits_for_it),
      RUN(the_file_is_opened_anew_when_it_was_rotated),
      RUN(a_file_that_cannot_be_written_is_told_by_its_name))
