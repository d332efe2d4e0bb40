/* Configurations from the edge where each reading and each writing of the stream is put off, takes
 * a single byte, or finds the stream reset. */
#include "rpc_lab.h"

static int32_t one(enum trouble kind, size_t fail_at, size_t *ret_calls, void **state_)
{
    struct rpc_lab l;
    trouble.calls = 0;
    trouble.fail_at = fail_at;
    trouble.kind = kind;
    rpc_lab_open(&l);
    rpc_lab_run(&l);
    *ret_calls = trouble.calls;
    if (l.end == ERR_AGAIN)
        fail_msg("the edge waits after trouble %d at operation %zu", (int)kind, fail_at);
    int32_t answers = rpc_lab_answers(&l);
    rpc_lab_close(&l, state_);
    trouble.fail_at = 0;
    return answers;
}

/* How many of the streams said less than everything. */
static unsigned sweep_rpc(enum trouble kind, void **state_)
{
    unsigned short_ones = 0;
    log_setup(LOG_OFF, LOG_LOGFMT, 2);
    for (size_t n = 1;; n++) {
        size_t calls;
        int32_t answers = one(kind, n, &calls, state_);
        short_ones += answers < RPC_CALLS;
        if (calls >= n)
            continue;
        CHECK(answers == RPC_CALLS);
        CHECK(n > 10);
        return short_ones;
    }
}

TEST(an_operation_that_is_put_off_changes_nothing)
{
    CHECK(sweep_rpc(TROUBLE_AGAIN, state_) == 0);
}

TEST(an_operation_that_moves_a_single_byte_changes_nothing)
{
    CHECK(sweep_rpc(TROUBLE_SHORT, state_) == 0);
}

TEST(a_stream_that_is_reset_ends_with_the_answers_that_were_given)
{
    CHECK(sweep_rpc(TROUBLE_RESET, state_) > 3);
}

TESTS(RUN(an_operation_that_is_put_off_changes_nothing),
      RUN(an_operation_that_moves_a_single_byte_changes_nothing),
      RUN(a_stream_that_is_reset_ends_with_the_answers_that_were_given))
