/* Flows of bytes where each reading and each writing of the connector in turn is put off, takes a
 * single byte, or finds the connection reset: at the edge's stream and at the origin's. */
#include "flow_lab.h"

static enum sight one(enum flow_kind kind, enum trouble trouble_kind, size_t fail_at,
                      size_t *ret_calls, void **state_)
{
    struct flow_lab l;
    trouble.calls = 0;
    trouble.fail_at = fail_at;
    trouble.kind = trouble_kind;
    flow_open(&l, kind);
    flow_run(&l);
    if (l.end == ERR_AGAIN)
        fail_msg("%s: the edge waits for ever after trouble %d at operation %zu", FLOW_NAMES[kind],
                 (int)trouble_kind, fail_at);
    *ret_calls = trouble.calls;
    enum sight sight = flow_judge(&l);
    flow_close(&l, state_);
    trouble.fail_at = 0;
    return sight;
}

static void sweep_flows(enum trouble trouble_kind, unsigned seen[4], void **state_)
{
    log_setup(LOG_OFF, LOG_LOGFMT, 2);
    for (int kind = 0; kind < FLOW_KINDS; kind++)
        for (size_t n = 1;; n++) {
            size_t calls;
            enum sight sight = one((enum flow_kind)kind, trouble_kind, n, &calls, state_);
            seen[sight]++;
            if (trouble_kind != TROUBLE_RESET && sight != SIGHT_WHOLE)
                fail_msg("%s: not whole after trouble %d at operation %zu", FLOW_NAMES[kind],
                         (int)trouble_kind, n);
            if (calls >= n)
                continue;
            CHECK(sight == SIGHT_WHOLE);
            CHECK(n > 10);
            break;
        }
}

TEST(an_operation_that_is_put_off_changes_nothing)
{
    unsigned seen[4] = { 0 };
    sweep_flows(TROUBLE_AGAIN, seen, state_);
}

TEST(an_operation_that_moves_a_single_byte_changes_nothing)
{
    unsigned seen[4] = { 0 };
    sweep_flows(TROUBLE_SHORT, seen, state_);
}

TEST(a_flow_that_is_reset_anywhere_is_an_error_or_a_cut_but_never_whole_where_it_is_not)
{
    unsigned seen[4] = { 0 };
    sweep_flows(TROUBLE_RESET, seen, state_);
    CHECK(seen[SIGHT_CUT] > 0);
    CHECK(seen[SIGHT_ERROR] + seen[SIGHT_NOTHING] > 0);
}

TESTS(RUN(an_operation_that_is_put_off_changes_nothing),
      RUN(an_operation_that_moves_a_single_byte_changes_nothing),
      RUN(a_flow_that_is_reset_anywhere_is_an_error_or_a_cut_but_never_whole_where_it_is_not))
