#pragma once
/* The calls of the control stream as values (docs/protocol.md §5, §7): RegistrationServer's
 * parameters and results. Pure. */
#include "base/text.h"
#include "tunnel/extension.h"
#include "tunnel/rpc.h"

#define REGISTRATION_INTERFACE 0xf71695ec7fe85497U
enum { METHOD_REGISTER = 0, METHOD_UNREGISTER = 1, METHOD_LOCAL_CONFIGURATION = 2 };
#define SESSION_INTERFACE 0x839445a59fb01686U
enum { METHOD_REGISTER_UDP = 0, METHOD_UNREGISTER_UDP = 1 };
#define CONFIGURATION_INTERFACE 0xb48edfbdaa25db04U
enum { METHOD_UPDATE_CONFIGURATION = 0 };

#define REGISTER_FEATURES_MAX 16

/* registerConnection's parameters. Views into the message, or the caller's. */
struct register_params {
    struct slice account, secret;
    struct uuid tunnel, connector;
    uint8_t index, attempts;
    bool replace_existing;
    struct slice version, arch;
    struct slice local_ip; /* 4 or 16 bytes, or empty */
    struct slice features[REGISTER_FEATURES_MAX];
    uint32_t feature_count;
};

/* Its result: either an error or the connection's details. */
struct register_result {
    bool is_accepted;
    struct uuid connection;
    struct slice location;
    bool is_remotely_managed;
    unsigned extensions; /* that both sides can; a list of names behind the reference's fields */
    struct slice cause;
    bool should_retry;
    uint64_t retry_after_ns;
};

/* ERR_PARSE when an id has not 16 bytes. */
int register_params_read(const struct capnp_struct *params, struct register_params *ret)
    __attribute__((warn_unused_result));
int register_result_read(const struct capnp_struct *results, struct register_result *ret)
    __attribute__((warn_unused_result));
int register_call(struct rpc *r, const struct register_params *p, struct buf *out, uint32_t *ret_id)
    __attribute__((warn_unused_result));
int register_answer(struct rpc *r, uint32_t id, const struct register_result *result,
                    struct buf *out) __attribute__((warn_unused_result));
/* unregisterConnection: no parameters, no results. */
int unregister_call(struct rpc *r, struct buf *out, uint32_t *ret_id)
    __attribute__((warn_unused_result));
/* An answer without content, to whatever call. */
int empty_answer(struct rpc *r, uint32_t id, struct buf *out) __attribute__((warn_unused_result));
/* updateLocalConfiguration with a JSON text. */
int local_configuration_call(struct rpc *r, struct slice json, struct buf *out, uint32_t *ret_id)
    __attribute__((warn_unused_result));
struct slice local_configuration_read(const struct capnp_struct *params);

/* updateConfiguration, which the edge calls on a stream of its own. */
int configuration_call(struct rpc *r, int32_t version, struct slice json, struct buf *out,
                       uint32_t *ret_id) __attribute__((warn_unused_result));
/* Its result: the version in force, and why it is not the one that was sent. */
struct configuration_result {
    int32_t applied;
    struct slice err;
};
int configuration_result_read(const struct capnp_struct *results, struct configuration_result *ret)
    __attribute__((warn_unused_result));
