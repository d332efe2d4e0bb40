#pragma once
/* Fields between an exchange and HTTP/2: names are in lower case there, and what concerns one
 * connection of HTTP/1.1 does not exist (RFC 9113 §8.2). Used by both codecs. Loop thread. */
#include "http/exchange.h"
#include "mux/h2.h"

/* The lines that may be sent, in the arena, behind `extra` free places for the caller's own. What
 * HTTP/1.1 keeps to a hop is left out, and Host and Content-Length; of TE only "trailers" stays.
 * Credentials are marked as secret. ERR_NOMEM, ERR_LIMIT. */
int h2_fields_out(const struct fields *from, struct arena *arena, size_t extra,
                  struct h2_field **ret, size_t *ret_count) __attribute__((warn_unused_result));
/* Copies of received lines, names too, without Content-Length and Host; several cookie lines become
 * one (RFC 9113 §8.2.3). ERR_NOMEM, ERR_LIMIT. */
int h2_fields_in(const struct h2_head *head, struct fields *to) __attribute__((warn_unused_result));
/* "content-length", with the number in the arena. ERR_NOMEM. */
int h2_field_length(uint64_t length, struct arena *arena, struct h2_field *ret)
    __attribute__((warn_unused_result));
