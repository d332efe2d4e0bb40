#include "crypto/keyfile.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

static char dir[64], path[100];

static void open_dir(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/adit-keyfile.XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/key", dir);
}

/* Removes the directory; how many files were in it, besides `path`. */
static size_t close_dir(void)
{
    size_t others = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        char name[400];
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(name, sizeof name, "%s/%s", dir, e->d_name);
        others += strcmp(name, path) != 0;
        assert_int_equal(unlink(name), 0);
    }
    (void)closedir(d);
    assert_int_equal(rmdir(dir), 0);
    return others;
}

static int read_it(size_t max, bool secret, struct slice want)
{
    struct fault f = { 0 };
    char *text = NULL;
    size_t n = 0;
    int r = file_read(path, max, secret, &text, &n, &f);
    assert_int_equal(f.code, r);
    if (r < 0) {
        assert_null(text);
        assert_non_null(strstr(f.text, path));
        return r;
    }
    assert_true(slice_eq(slice_of(text, n), want) && text[n] == 0);
    free(text);
    return 0;
}

TEST(what_is_written_reads_back_with_its_mode)
{
    struct stat st;
    mode_t mask = umask(0);
    open_dir();
    CHECK_ERR(ERR_NOTFOUND, read_it(100, true, SLICE("")));
    CHECK_OK(file_write(path, SLICE("a\0b"), 0600, NULL));
    CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
    CHECK_OK(read_it(100, true, SLICE("a\0b")));
    CHECK_OK(file_write(path, SLICE("other"), 0644, NULL)); /* in its place */
    CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0644);
    CHECK_OK(read_it(100, false, SLICE("other")));
    CHECK_OK(file_write(path, SLICE(""), 0600, NULL));
    CHECK_OK(read_it(0, true, SLICE("")));
    CHECK(close_dir() == 0);
    (void)umask(mask);
}

TEST(a_secret_that_others_may_read_is_refused)
{
    open_dir();
    static const mode_t MODES[] = { 0640, 0604, 0660, 0620, 0601 };
    for (size_t i = 0; i < 5; i++) {
        CHECK_OK(file_write(path, SLICE("secret"), MODES[i], NULL));
        CHECK_ERR(ERR_DENIED, read_it(100, true, SLICE("")));
        CHECK_OK(read_it(100, false, SLICE("secret")));
    }
    CHECK_OK(file_write(path, SLICE("secret"), 0400, NULL));
    CHECK_OK(read_it(100, true, SLICE("secret")));
    CHECK(close_dir() == 0);
}

TEST(a_file_past_the_bound_is_refused)
{
    open_dir();
    CHECK_OK(file_write(path, SLICE("12345"), 0600, NULL));
    CHECK_OK(read_it(5, true, SLICE("12345")));
    CHECK_ERR(ERR_TOOLARGE, read_it(4, true, SLICE("")));
    CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0); /* and a directory is no file */
    CHECK_ERR(ERR_IO, read_it(4, true, SLICE("")));
    struct fault f = { 0 };
    CHECK(file_write(path, SLICE("x"), 0600, &f) < 0);
    CHECK(strstr(f.text, "cannot be written") != NULL);
    CHECK(rmdir(path) == 0);
    CHECK(close_dir() == 0); /* nothing was left beside it */
}

TEST(creating_never_takes_the_place_of_a_file)
{
    struct fault f = { 0 };
    open_dir();
    CHECK_OK(file_create(path, SLICE("first"), 0600, &f));
    CHECK_ERR(ERR_EXISTS, file_create(path, SLICE("second"), 0600, &f));
    CHECK_OK(read_it(100, true, SLICE("first")));
    CHECK(close_dir() == 0);
}

TEST(a_write_that_fails_leaves_the_old_file_and_nothing_else)
{
    static char large[100000];
    struct fault f = { 0 };
    struct rlimit limit;
    open_dir();
    CHECK_OK(file_write(path, SLICE("old"), 0600, NULL));
    (void)signal(SIGXFSZ, SIG_IGN);
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = 50000; /* a disk that is full after so much */
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK_ERR(ERR_IO, file_write(path, slice_of(large, sizeof large), 0600, &f));
    CHECK(strstr(f.text, "cannot be written") != NULL);
    limit.rlim_cur = RLIM_INFINITY;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK_OK(read_it(100, true, SLICE("old")));
    CHECK(close_dir() == 0);
}

TEST(a_place_that_is_not_there_is_said)
{
    struct fault f = { 0 };
    char long_path[5000];
    CHECK_ERR(ERR_NOTFOUND, file_write("/nonexistent/adit/key", SLICE("x"), 0600, &f));
    CHECK(strstr(f.text, "/nonexistent/adit/key: cannot be written") != NULL);
    memset(long_path, 'a', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = 0;
    CHECK_ERR(ERR_TOOLARGE, file_write(long_path, SLICE("x"), 0600, &f));
    CHECK_ERR(ERR_TOOLARGE, file_create(long_path, SLICE("x"), 0600, NULL));
}

TESTS(RUN(what_is_written_reads_back_with_its_mode), RUN(a_secret_that_others_may_read_is_refused),
      RUN(a_file_past_the_bound_is_refused), RUN(creating_never_takes_the_place_of_a_file),
      RUN(a_write_that_fails_leaves_the_old_file_and_nothing_else),
      RUN(a_place_that_is_not_there_is_said))
