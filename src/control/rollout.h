#pragma once
/* Which connector has which version of its tunnel's remote configuration, and who is to be told
 * next. One entry for each connector process that is connected; only the newest version is ever
 * told, one attempt at a time, on one of the connector's links. In memory: after a restart every
 * connector is told again, and passes over what it has. Does nothing by itself: who drives it asks
 * rollout_next, sends, and says what came of it. The control thread's. */
#include "base/clock.h"
#include "base/text.h"

#define ROLLOUT_REASON_BYTES 512

struct rollout;
struct rollout *rollout_new(void);
void rollout_free(struct rollout *r); /* NULL is accepted */

/* What a connector has said. */
struct rollout_state {
    int wanted;                        /* the newest version; 0 = there is none */
    int applied;                       /* in force there; 0 = it has said nothing */
    int refused;                       /* the last version that it did not take; 0 = none */
    char reason[ROLLOUT_REASON_BYTES]; /* of that, in its words */
};

/* A connection of this connector is registered. ERR_NOMEM: it was not noted. */
int rollout_joined(struct rollout *r, const struct uuid *tunnel, const struct uuid *connector,
                   int version, nsec now) __attribute__((warn_unused_result));
/* One of them is gone; with the last one all is forgotten. */
void rollout_left(struct rollout *r, const struct uuid *tunnel, const struct uuid *connector);
/* The tunnel has a new version: whoever is connected is to have it, without delay. */
void rollout_want(struct rollout *r, const struct uuid *tunnel, int version, nsec now);
/* NULL when nothing is known of it. */
const struct rollout_state *rollout_state(const struct rollout *r, const struct uuid *tunnel,
                                          const struct uuid *connector);

struct rollout_job {
    struct uuid tunnel, connector;
    uint64_t last_link; /* that was tried last; 0 = none */
};
/* Somebody who is to be told now. False when there is nobody, or as many are being told as may be;
 * *ret_due is then when to ask again, 0 when nothing but news changes that. */
bool rollout_next(struct rollout *r, nsec now, struct rollout_job *ret, nsec *ret_due);
/* It is being told, on that link. Each is followed by one of the three below. */
void rollout_began(struct rollout *r, const struct rollout_job *job, uint64_t link, int version);

enum rollout_outcome {
    ROLLOUT_APPLIED,
    ROLLOUT_REFUSED, /* and not told again before there is another version */
    ROLLOUT_AGAIN,   /* neither: later */
    ROLLOUT_PAST,    /* nobody waits for it any more */
};
/* It answered. An empty reason: it has taken the version, or has a later one. */
enum rollout_outcome rollout_answered(struct rollout *r, const struct uuid *tunnel,
                                      const struct uuid *connector, uint64_t link, int applied,
                                      const char *reason, nsec now, uint64_t chance);
/* No answer came: later, and on another link where there is one. `chance`: any number. */
enum rollout_outcome rollout_failed(struct rollout *r, const struct uuid *tunnel,
                                    const struct uuid *connector, uint64_t link, nsec now,
                                    uint64_t chance);
/* There was no link to tell it on: it waits for news. */
void rollout_pass(struct rollout *r, const struct rollout_job *job);
