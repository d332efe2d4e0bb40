#pragma once
/* The connector's side of the control stream: registerConnection and unregisterConnection as calls
 * whose answers are polled. The connection that embeds it calls control_client_run whenever it is
 * woken. Loop thread. */
#include "connector/connection.h"
#include "net/stream.h"
#include "tunnel/registration.h"

enum control_answer { CONTROL_PENDING, CONTROL_OK, CONTROL_REFUSED };

struct control_client {
    struct stream *s;
    struct buf in, out;
    struct rpc *rpc;
    uint32_t register_call, unregister_call, report_call;
    bool is_unregistering, is_reporting, has_report_failed;
    bool is_finished; /* nothing is said any more */
    enum control_answer registered, unregistered;
    char cause[RPC_TEXT_BYTES]; /* of CONTROL_REFUSED */
    bool should_retry;
    char location[64];
    struct uuid connection;
    bool is_remotely_managed;
    unsigned extensions; /* of the edge: tunnel/extension.h */
};

/* Takes the stream over, also on failure. `task` is woken by it. */
int control_client_init(struct control_client *c, struct loop *loop, struct stream *s,
                        struct task *task) __attribute__((warn_unused_result));
/* The same conversation, which must have begun, at another place and for another task; *from is
 * zeroed. */
void control_client_move(struct control_client *from, struct control_client *to, struct loop *loop,
                         struct task *task);
/* Queues registerConnection. */
int control_client_register(struct control_client *c, const struct connection_identity *identity,
                            unsigned index, unsigned attempts, const struct addr *local)
    __attribute__((warn_unused_result));
int control_client_unregister(struct control_client *c) __attribute__((warn_unused_result));
/* Queues updateLocalConfiguration; it is over when is_reporting is false again. */
int control_client_report(struct control_client *c, const char *json)
    __attribute__((warn_unused_result));
/* Says that the conversation is over, as the reference does when it goes. */
void control_client_finish(struct control_client *c);
/* Moves bytes and takes answers. ERR_AGAIN, or what ended the stream. */
int control_client_run(struct control_client *c);
/* Safe on a zeroed one. */
void control_client_done(struct control_client *c);
