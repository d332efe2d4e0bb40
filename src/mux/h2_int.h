#pragma once
/* What the files of HTTP/2 share. Everything belongs to one loop's thread. */
#include <nghttp2/nghttp2.h>

#include "base/limits.h"
#include "mux/h2.h"

#define H2_OUT_BYTES   (64 * 1024) /* frames written and not yet taken by the stream below */
#define H2_SHARE_BYTES 1024 /* smaller pieces are copied: each would hold on to a whole chunk */
#define H2_HEAD_EXCESS 4 /* header lists this often as large as we announced end the connection */

/* Where in the peer's frames its bytes are. */
struct h2_watch {
    size_t skip; /* of what is looked at no further */
    uint8_t head[9];
    unsigned filled;
    unsigned continuations; /* of the last header block, and its bytes on the wire */
    size_t block_bytes;
};

struct h2_conn {
    struct loop *loop;
    struct h2_conf conf;
    nghttp2_session *ng;
    struct stream *under;
    struct task *owner;
    struct task task; /* news from below, and our deadlines */
    struct task send; /* late: one write pass a turn */
    enum h2_state state;
    struct h2_why why;
    struct buf in, out;
    size_t arrived; /* DATA bytes whose credit of the connection is to be given back */
    bool is_out_full, is_released;
    int write_err;      /* nothing can be written any more */
    bool is_goaway_out; /* one with an error: the last frame */
    uint32_t fault;     /* its code */
    int32_t heading;    /* the stream whose header block came last */
    bool is_draining;   /* h2_conn_drain was called */
    bool is_acked;      /* our SETTINGS were acknowledged */
    bool says_going;    /* we sent a notice of GOAWAY; the PING behind it is not answered yet */
    bool wants_room;    /* a request was told ERR_AGAIN */
    bool is_abusive;    /* the budget is used up */
    struct h2_watch watch;
    uint64_t due;  /* frames of the peer that ours make likely */
    int64_t abuse; /* points, and when they were last counted */
    nsec abuse_at;
    struct deadline settings, alive, stall, linger;
    nsec pinged_at; /* 0 = no PING is on its way */
    nsec heard_at, said_at, rtt;
    struct list streams;
    struct list peers; /* whose head is there, nobody's yet */
    size_t stream_count, told_left;
    uint64_t bytes_in, bytes_out, message_frames;
    struct lingerer lingerer; /* released, and its last words are still on their way */
    struct reaper reaper;
};

struct h2_stream {
    struct stream body;
    struct list node, peer;
    struct h2_conn *conn; /* NULL when the connection is gone */
    struct loop *loop;
    int32_t id;
    struct h2_head *incoming;          /* being received */
    struct h2_head *heads, *heads_end; /* received; all of them until release */
    struct h2_head *next_head;         /* not taken yet */
    struct h2_head *trailers;
    struct buf in, unsent;
    nghttp2_nv *trailers_out;
    size_t trailers_count;
    bool has_final;     /* the request, or the final head of a response, came */
    bool is_in_over;    /* END_STREAM came */
    bool is_fin_wanted; /* finish was called */
    bool is_fin_sent;   /* END_STREAM is out */
    bool is_head_sent;  /* server: the final one */
    bool is_full;       /* write said ERR_AGAIN */
    bool is_deferred;   /* nghttp2 waits for us to have data */
    bool is_released;   /* the owner let go */
    bool is_closed;     /* nghttp2 let go */
    bool is_reset_late; /* RST_STREAM behind our END_STREAM */
    bool has_moved;     /* since the last look at streams that stall */
    bool is_oversized;  /* its header list passed the limit */
    bool was_refused;
    uint32_t code;
    int in_err, out_err;
    struct reaper reaper;
};

/* h2_session.c: not from within a callback of nghttp2 */
void h2_fail(struct h2_conn *c, int err, uint32_t code, const char *text);
/* A part of a message went out: an answer of some kind is to be expected. */
void h2_note_said(struct h2_conn *c);

/* h2_budget.c */
/* The peer made useless work. */
void h2_abuse(struct h2_conn *c, unsigned points);
void h2_watch_init(struct h2_conn *c);
/* Counts the frames that these bytes are. */
void h2_watch(struct h2_conn *c, struct slice part);
/* A frame of ours went out: what it makes the peer say is not useless. */
void h2_note_due(struct h2_conn *c, uint8_t type);

/* h2_callbacks.c */
int h2_callbacks_new(nghttp2_session_callbacks **ret);

/* h2_send.c */
void h2_send_run(struct task *t);
/* Whatever comes before GOAWAY, and that: the last bytes of a connection. */
void h2_send_last(struct h2_conn *c);
nghttp2_data_provider h2_data_of(struct h2_stream *s);
int h2_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t length,
                 nghttp2_data_source *source, void *user);

/* h2_stream.c */
struct h2_stream *h2_stream_new(struct h2_conn *c, int32_t id);
void h2_stream_destroy(struct h2_stream *s);
/* The connection is over. */
void h2_stream_orphan(struct h2_stream *s, int why);
/* nghttp2 let go of it. */
void h2_stream_closed(struct h2_stream *s, uint32_t code);
void h2_stream_refuse(struct h2_stream *s, int why, uint32_t code);
void h2_stream_made_room(struct h2_stream *s);
/* END_STREAM went out. */
void h2_stream_fin_sent(struct h2_stream *s);

/* h2_head.c */
struct h2_head *h2_head_new(size_t bytes_max); /* of a header list */
void h2_head_free(struct h2_head *h);          /* NULL is accepted */
/* Adds a received field. ERR_LIMIT, ERR_NOMEM. */
int h2_head_add(struct h2_head *h, struct slice name, struct slice value, bool is_secret);
/* What nghttp2 does not check: a Host that differs from :authority, a repeated Host. */
bool h2_head_is_sound(const struct h2_head *h);
/* Pseudo fields and fields as nghttp2 wants them, names in lower case, in one block to be freed.
 * Values stay views unless `copies` (then the head has no pseudo fields). ERR_NOMEM, ERR_LIMIT past
 * HEAD_FIELDS_MAX. */
int h2_nv_new(const struct h2_send_head *head, bool copies, nghttp2_nv **ret, size_t *ret_count);
