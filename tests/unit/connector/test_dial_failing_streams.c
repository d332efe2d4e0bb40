/* A dial over HTTP/2 where each reading and each writing of the connector's socket in turn is put
 * off, moves a single byte, or finds the connection reset. */
#include "dial_lab.h"

static void edge_is_spared(bool is)
{
    (void)is; /* its streams are not wrapped */
}

static int one(enum trouble kind, size_t fail_at, size_t *ret_calls, void **state_)
{
    struct dial_lab l;
    trouble.calls = 0;
    trouble.fail_at = fail_at;
    trouble.kind = kind;
    lab_open(&l);
    int r = lab_run(&l);
    *ret_calls = trouble.calls;
    trouble.fail_at = 0;
    lab_close(&l, state_);
    if (r == ERR_AGAIN)
        fail_msg("somebody waits in vain after trouble %d at operation %zu", (int)kind, fail_at);
    return r;
}

/* How many of them failed. */
static unsigned sweep_streams(enum trouble kind, void **state_)
{
    unsigned failed = 0;
    for (size_t n = 1;; n++) {
        size_t calls;
        int r = one(kind, n, &calls, state_);
        failed += r < 0;
        if (calls >= n)
            continue;
        CHECK_OK(r);
        CHECK(n > 10);
        return failed;
    }
}

TEST(an_operation_that_is_put_off_changes_nothing)
{
    CHECK(sweep_streams(TROUBLE_AGAIN, state_) == 0);
}

TEST(an_operation_that_moves_a_single_byte_changes_nothing)
{
    CHECK(sweep_streams(TROUBLE_SHORT, state_) == 0);
}

TEST(a_connection_that_is_reset_at_any_moment_says_so)
{
    CHECK(sweep_streams(TROUBLE_RESET, state_) > 10);
}

TESTS(RUN(an_operation_that_is_put_off_changes_nothing),
      RUN(an_operation_that_moves_a_single_byte_changes_nothing),
      RUN(a_connection_that_is_reset_at_any_moment_says_so))
