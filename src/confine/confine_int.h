#pragma once
/* The steps of confinement. Each returns 0, or a negative errno value for what could not be had. */
#include "confine/confine.h"

/* Sanitizers look into their own process when it ends, with means that nothing else needs. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CONFINE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CONFINE_SANITIZED 1
#endif
#endif
#ifndef CONFINE_SANITIZED
#define CONFINE_SANITIZED 0
#endif

/* user.c: fills c->as. A fault is for a user that was named and cannot be had. */
int confine_user(struct confine *c, bool keep_low_ports, struct fault *fault)
    __attribute__((warn_unused_result));
/* Gives up all capabilities of this thread but those of the mask. */
int confine_capabilities(uint64_t keep) __attribute__((warn_unused_result));
/* Nor can they come back by executing something. */
void confine_bounding_set(void);

/* landlock.c: the version of the interface in *ret_abi. */
int confine_landlock(const struct confine *c, int *ret_abi) __attribute__((warn_unused_result));

/* seccomp.c: what may be called while sockets are made; then, what may not be called any more. */
int confine_calls(const struct confine *c) __attribute__((warn_unused_result));
int confine_calls_bound(const struct confine *c) __attribute__((warn_unused_result));
