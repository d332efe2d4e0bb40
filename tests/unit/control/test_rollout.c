/* Who is told which version of a configuration, and when. */
#include "base/limits.h"
#include "base/log.h"
#include "control/rollout.h"
#include "test.h"

static const struct uuid TUNNEL = { { 1 } }, OTHER = { { 2 } };
#define CHANCE 0

static struct uuid connector(uint8_t n)
{
    return (struct uuid){ { n, n } };
}

static void joined(struct rollout *r, const struct uuid *tunnel, uint8_t n, int version, nsec now)
{
    struct uuid c = connector(n);
    assert_int_equal(rollout_joined(r, tunnel, &c, version, now), 0);
}

/* The number of the connector that is told next, over `link`; 0 when there is none. */
static unsigned begin(struct rollout *r, nsec now, uint64_t link, int version)
{
    struct rollout_job job;
    nsec due;
    if (!rollout_next(r, now, &job, &due))
        return 0;
    rollout_began(r, &job, link, version);
    return job.connector.bytes[0];
}

static nsec due_after(struct rollout *r, nsec now)
{
    struct rollout_job job;
    nsec due = 0;
    assert_false(rollout_next(r, now, &job, &due));
    return due;
}

static enum rollout_outcome answered(struct rollout *r, uint8_t n, uint64_t link, int applied,
                                     const char *reason, nsec now)
{
    struct uuid c = connector(n);
    return rollout_answered(r, &TUNNEL, &c, link, applied, reason, now, CHANCE);
}

static enum rollout_outcome failed(struct rollout *r, uint8_t n, uint64_t link, nsec now)
{
    struct uuid c = connector(n);
    return rollout_failed(r, &TUNNEL, &c, link, now, CHANCE);
}

static struct rollout_state state(struct rollout *r, uint8_t n)
{
    struct uuid c = connector(n);
    const struct rollout_state *s = rollout_state(r, &TUNNEL, &c);
    assert_non_null(s);
    return *s;
}

TEST(each_connector_is_told_once)
{
    struct rollout *r = rollout_new();
    joined(r, &TUNNEL, 1, 3, 10);
    joined(r, &TUNNEL, 1, 3, 11); /* a second connection */
    joined(r, &TUNNEL, 2, 3, 12);
    joined(r, &OTHER, 3, 0, 12); /* has none */
    CHECK(begin(r, 20, 100, 3) == 1);
    CHECK(begin(r, 20, 200, 3) == 2);
    CHECK(begin(r, 20, 300, 3) == 0);
    CHECK(answered(r, 1, 100, 3, "", 30) == ROLLOUT_APPLIED);
    CHECK(answered(r, 2, 200, 3, "", 30) == ROLLOUT_APPLIED);
    joined(r, &TUNNEL, 2, 3, 40);
    CHECK(begin(r, 50, 100, 3) == 0);
    CHECK(state(r, 1).applied == 3 && state(r, 1).wanted == 3 && state(r, 1).refused == 0);
    rollout_free(r);
}

TEST(only_the_newest_version_is_told_and_one_at_a_time)
{
    struct rollout *r = rollout_new();
    joined(r, &TUNNEL, 1, 1, 0);
    CHECK(begin(r, 0, 100, 1) == 1);
    for (int version = 2; version <= 9; version++)
        rollout_want(r, &TUNNEL, version, 0);
    rollout_want(r, &OTHER, 99, 0);
    CHECK(begin(r, 0, 100, 9) == 0); /* while the first is under way */
    CHECK(answered(r, 1, 100, 1, "", 5) == ROLLOUT_APPLIED);
    CHECK(begin(r, 5, 100, 9) == 1);
    CHECK(answered(r, 1, 100, 9, "", 6) == ROLLOUT_APPLIED);
    CHECK(begin(r, 7, 100, 9) == 0 && state(r, 1).applied == 9);
    rollout_free(r);
}

TEST(a_refusal_is_kept_until_there_is_another_version)
{
    struct rollout *r = rollout_new();
    joined(r, &TUNNEL, 1, 1, 0);
    CHECK(begin(r, 0, 100, 1) == 1);
    CHECK(answered(r, 1, 100, -1, "nonsense is an invalid address", 1) == ROLLOUT_REFUSED);
    CHECK(begin(r, NSEC_PER_SEC * 3600, 100, 1) == 0);
    CHECK(state(r, 1).refused == 1 && state(r, 1).applied == 0);
    CHECK(strcmp(state(r, 1).reason, "nonsense is an invalid address") == 0);
    rollout_want(r, &TUNNEL, 2, 2);
    CHECK(begin(r, 2, 100, 2) == 1);
    CHECK(answered(r, 1, 100, 2, "", 3) == ROLLOUT_APPLIED);
    CHECK(state(r, 1).refused == 0 && state(r, 1).reason[0] == 0 && state(r, 1).applied == 2);
    rollout_free(r);
}

TEST(who_does_not_answer_is_told_again_ever_later)
{
    struct rollout *r = rollout_new();
    nsec now = 0, last = 0;
    joined(r, &TUNNEL, 1, 1, now);
    for (int i = 0; i < 40; i++) {
        CHECK(begin(r, now, 100, 1) == 1);
        CHECK(failed(r, 1, 100, now) == ROLLOUT_AGAIN);
        nsec due = due_after(r, now);
        CHECK(due > now && due - now >= last && due - now <= 60 * NSEC_PER_SEC);
        CHECK(begin(r, due - 1, 100, 1) == 0);
        last = due - now;
        now = due;
    }
    CHECK(last == 60 * NSEC_PER_SEC);
    joined(r, &TUNNEL, 1, 1, now - 5); /* but a new connection is a reason to try at once */
    CHECK(begin(r, now - 5, 100, 1) == 1);
    CHECK(failed(r, 1, 100, now) == ROLLOUT_AGAIN);
    rollout_want(r, &TUNNEL, 2, now); /* and so is a new version */
    CHECK(begin(r, now, 100, 2) == 1);
    rollout_want(r, &TUNNEL, 3, now); /* that came while the one before it failed, too */
    CHECK(failed(r, 1, 100, now) == ROLLOUT_AGAIN);
    CHECK(begin(r, now, 100, 3) == 1);
    rollout_free(r);
}

TEST(an_answer_with_an_older_version_and_no_reason_is_no_success)
{
    struct rollout *r = rollout_new();
    joined(r, &TUNNEL, 1, 5, 0);
    CHECK(begin(r, 0, 100, 5) == 1);
    CHECK(answered(r, 1, 100, 4, "", 0) == ROLLOUT_AGAIN);
    CHECK(state(r, 1).applied == 4 && due_after(r, 0) > 0);
    CHECK(begin(r, NSEC_PER_SEC, 100, 5) == 1);
    CHECK(answered(r, 1, 100, 7, "", 0) == ROLLOUT_APPLIED); /* it has been elsewhere before */
    CHECK(state(r, 1).applied == 7 && begin(r, NSEC_PER_SEC * 9, 100, 5) == 0);
    rollout_free(r);
}

TEST(what_is_said_for_a_connector_that_went_counts_for_nobody)
{
    struct rollout *r = rollout_new();
    struct uuid one = connector(1);
    joined(r, &TUNNEL, 1, 1, 0);
    CHECK(begin(r, 0, 100, 1) == 1);
    rollout_left(r, &TUNNEL, &one);
    CHECK(rollout_state(r, &TUNNEL, &one) == NULL);
    joined(r, &TUNNEL, 1, 2, 0); /* the same process is back */
    CHECK(begin(r, 0, 101, 2) == 1);
    CHECK(answered(r, 1, 100, 1, "late", 0) == ROLLOUT_PAST);
    CHECK(state(r, 1).refused == 0);
    CHECK(answered(r, 1, 101, 2, "", 0) == ROLLOUT_APPLIED);
    rollout_left(r, &TUNNEL, &one);
    rollout_left(r, &TUNNEL, &one); /* and once too often */
    rollout_free(r);
}

TEST(a_bounded_number_is_told_at_once)
{
    struct rollout *r = rollout_new();
    for (unsigned n = 1; n <= REMOTE_CONFIG_PUSHES_MAX + 2; n++)
        joined(r, &TUNNEL, (uint8_t)n, 1, 0);
    for (unsigned n = 1; n <= REMOTE_CONFIG_PUSHES_MAX; n++)
        CHECK(begin(r, 0, n, 1) == n);
    CHECK(due_after(r, 0) == 0);
    CHECK(answered(r, 1, 1, 1, "", 0) == ROLLOUT_APPLIED);
    CHECK(begin(r, 0, 900, 1) == REMOTE_CONFIG_PUSHES_MAX + 1);
    CHECK(begin(r, 0, 901, 1) == 0);
    struct uuid two = connector(2);
    rollout_left(r, &TUNNEL, &two); /* its place is free once its attempt is over */
    CHECK(begin(r, 0, 901, 1) == 0);
    CHECK(failed(r, 2, 2, 0) == ROLLOUT_PAST);
    CHECK(begin(r, 0, 901, 1) == REMOTE_CONFIG_PUSHES_MAX + 2);
    rollout_free(r);
}

TEST(who_has_no_link_waits_for_news)
{
    struct rollout *r = rollout_new();
    struct rollout_job job;
    nsec due;
    joined(r, &TUNNEL, 1, 1, 0);
    CHECK(rollout_next(r, 0, &job, &due) && job.last_link == 0);
    rollout_pass(r, &job);
    CHECK(due_after(r, NSEC_PER_SEC * 100) == 0);
    joined(r, &TUNNEL, 1, 1, 0);
    CHECK(begin(r, 0, 55, 1) == 1);
    CHECK(failed(r, 1, 55, 0) == ROLLOUT_AGAIN);
    CHECK(rollout_next(r, NSEC_PER_SEC, &job, &due) && job.last_link == 55);
    rollout_free(r);
}

TESTS(RUN(each_connector_is_told_once), RUN(only_the_newest_version_is_told_and_one_at_a_time),
      RUN(a_refusal_is_kept_until_there_is_another_version),
      RUN(who_does_not_answer_is_told_again_ever_later),
      RUN(an_answer_with_an_older_version_and_no_reason_is_no_success),
      RUN(what_is_said_for_a_connector_that_went_counts_for_nobody),
      RUN(a_bounded_number_is_told_at_once), RUN(who_has_no_link_waits_for_news))
