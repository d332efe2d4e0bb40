/* A registration and its refusals where each reading and each writing of the control stream, at
 * either end, is put off, takes a single byte, or finds the stream reset. */
#include "control_lab.h"

static enum outcome one(enum plane_answer answer, enum trouble kind, size_t fail_at,
                        size_t *ret_calls, void **state_)
{
    struct control_lab l;
    trouble.calls = 0;
    trouble.fail_at = fail_at;
    trouble.kind = kind;
    control_open(&l, answer);
    control_go(&l);
    *ret_calls = trouble.calls;
    if (l.client.registered == CONTROL_PENDING && !l.is_over)
        fail_msg("plane %d: the connector waits after trouble %d at operation %zu", (int)answer,
                 (int)kind, fail_at);
    enum outcome outcome = control_judge(&l);
    control_close(&l, state_);
    trouble.fail_at = 0;
    return outcome;
}

static void sweep_control(enum trouble kind, unsigned seen[4], void **state_)
{
    log_setup(LOG_OFF, LOG_LOGFMT, 2);
    for (int answer = 0; answer < PLANE_ANSWERS; answer++)
        for (size_t n = 1;; n++) {
            size_t calls;
            enum outcome outcome = one((enum plane_answer)answer, kind, n, &calls, state_);
            seen[outcome]++;
            if (kind != TROUBLE_RESET && outcome != whole_outcome((enum plane_answer)answer))
                fail_msg("plane %d: another outcome after trouble %d at operation %zu", answer,
                         (int)kind, n);
            if (calls >= n)
                continue;
            CHECK(outcome == whole_outcome((enum plane_answer)answer));
            CHECK(n > 10);
            break;
        }
}

TEST(an_operation_that_is_put_off_changes_nothing)
{
    unsigned seen[4] = { 0 };
    sweep_control(TROUBLE_AGAIN, seen, state_);
}

TEST(an_operation_that_moves_a_single_byte_changes_nothing)
{
    unsigned seen[4] = { 0 };
    sweep_control(TROUBLE_SHORT, seen, state_);
}

TEST(a_control_stream_that_is_reset_is_lost_or_was_answered)
{
    unsigned seen[4] = { 0 };
    sweep_control(TROUBLE_RESET, seen, state_);
    CHECK(seen[OUTCOME_LOST] > 0);
    CHECK(seen[OUTCOME_REFUSED] > 0);
    CHECK(seen[OUTCOME_SHORT] == 0);
}

TESTS(RUN(an_operation_that_is_put_off_changes_nothing),
      RUN(an_operation_that_moves_a_single_byte_changes_nothing),
      RUN(a_control_stream_that_is_reset_is_lost_or_was_answered))
