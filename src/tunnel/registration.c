#include "tunnel/registration.h"

#include "base/err.h"

static int take_uuid(struct slice bytes, struct uuid *ret)
{
    if (bytes.n != sizeof ret->bytes)
        return ERR_PARSE;
    memcpy(ret->bytes, bytes.p, sizeof ret->bytes);
    return 0;
}

int register_params_read(const struct capnp_struct *params, struct register_params *ret)
{
    struct capnp_struct auth = capnp_get(params, 0), options = capnp_get(params, 2),
                        client = capnp_get(&options, 0);
    struct capnp_list features = capnp_list(&client, 1);
    *ret = (struct register_params){
        .account = capnp_text(&auth, 0),
        .secret = capnp_data(&auth, 1),
        .index = capnp_u8(params, 0),
        .attempts = capnp_u8(&options, 2),
        .replace_existing = capnp_bool(&options, 0),
        .version = capnp_text(&client, 2),
        .arch = capnp_text(&client, 3),
        .local_ip = capnp_data(&options, 1),
    };
    for (uint32_t i = 0; i < features.count && i < REGISTER_FEATURES_MAX; i++)
        ret->features[ret->feature_count++] = capnp_item_text(&features, i);
    int r = take_uuid(capnp_data(params, 1), &ret->tunnel);
    if (r == 0)
        r = take_uuid(capnp_data(&client, 0), &ret->connector);
    return params->msg != NULL && params->msg->err < 0 ? params->msg->err : r;
}

int register_call(struct rpc *r, const struct register_params *p, struct buf *out, uint32_t *ret_id)
{
    struct capnp_builder b;
    struct capnp_ref params;
    int e = rpc_call(r, REGISTRATION_INTERFACE, METHOD_REGISTER, 1, 3, &b, &params, ret_id);
    if (e < 0)
        return e;
    capnp_put_u8(&b, params, 0, p->index);
    struct capnp_ref auth = capnp_put(&b, params, 0, 0, 2);
    capnp_put_text(&b, auth, 0, p->account);
    capnp_put_data(&b, auth, 1, p->secret);
    capnp_put_data(&b, params, 1, slice_of(p->tunnel.bytes, sizeof p->tunnel.bytes));
    struct capnp_ref options = capnp_put(&b, params, 2, 1, 2);
    capnp_put_bool(&b, options, 0, p->replace_existing);
    capnp_put_u8(&b, options, 2, p->attempts);
    struct capnp_ref client = capnp_put(&b, options, 0, 0, 4);
    capnp_put_data(&b, client, 0, slice_of(p->connector.bytes, sizeof p->connector.bytes));
    capnp_put_texts(&b, client, 1, p->features, p->feature_count);
    capnp_put_text(&b, client, 2, p->version);
    capnp_put_text(&b, client, 3, p->arch);
    capnp_put_data(&b, options, 1, p->local_ip);
    return rpc_send(&b, out);
}

int register_result_read(const struct capnp_struct *results, struct register_result *ret)
{
    struct capnp_struct response = capnp_get(results, 0), value = capnp_get(&response, 0);
    *ret = (struct register_result){ .is_accepted = capnp_u16(&response, 0) == 1 };
    int r = 0;
    if (ret->is_accepted) {
        r = take_uuid(capnp_data(&value, 0), &ret->connection);
        ret->location = capnp_text(&value, 1);
        ret->is_remotely_managed = capnp_bool(&value, 0);
        struct capnp_list names = capnp_list(&value, 2);
        for (uint32_t i = 0; i < names.count && i < REGISTER_FEATURES_MAX; i++) {
            struct slice name = capnp_item_text(&names, i);
            ret->extensions |= extensions_of(&name, 1);
        }
    } else {
        ret->cause = capnp_text(&value, 0);
        ret->retry_after_ns = capnp_u64(&value, 0);
        ret->should_retry = capnp_bool(&value, 64);
    }
    return results->msg != NULL && results->msg->err < 0 ? results->msg->err : r;
}

int register_answer(struct rpc *r, uint32_t id, const struct register_result *result,
                    struct buf *out)
{
    struct capnp_builder b;
    struct capnp_ref results;
    int e = rpc_answer(r, id, 0, 1, &b, &results);
    if (e < 0)
        return e;
    struct capnp_ref response = capnp_put(&b, results, 0, 1, 1);
    if (result->is_accepted) {
        capnp_put_u16(&b, response, 0, 1);
        struct slice names[EXTENSIONS_MAX];
        size_t count = extensions_names(result->extensions, names);
        struct capnp_ref details = capnp_put(&b, response, 0, 1, count > 0 ? 3 : 2);
        capnp_put_data(&b, details, 0,
                       slice_of(result->connection.bytes, sizeof result->connection.bytes));
        capnp_put_text(&b, details, 1, result->location);
        capnp_put_bool(&b, details, 0, result->is_remotely_managed);
        if (count > 0)
            capnp_put_texts(&b, details, 2, names, (uint32_t)count);
    } else {
        struct capnp_ref error = capnp_put(&b, response, 0, 2, 1);
        capnp_put_text(&b, error, 0, result->cause);
        capnp_put_u64(&b, error, 0, result->retry_after_ns);
        capnp_put_bool(&b, error, 64, result->should_retry);
    }
    return rpc_send(&b, out);
}

int unregister_call(struct rpc *r, struct buf *out, uint32_t *ret_id)
{
    struct capnp_builder b;
    struct capnp_ref params;
    int e = rpc_call(r, REGISTRATION_INTERFACE, METHOD_UNREGISTER, 0, 0, &b, &params, ret_id);
    return e < 0 ? e : rpc_send(&b, out);
}

int local_configuration_call(struct rpc *r, struct slice json, struct buf *out, uint32_t *ret_id)
{
    struct capnp_builder b;
    struct capnp_ref params;
    int e =
        rpc_call(r, REGISTRATION_INTERFACE, METHOD_LOCAL_CONFIGURATION, 0, 1, &b, &params, ret_id);
    if (e < 0)
        return e;
    capnp_put_data(&b, params, 0, json);
    return rpc_send(&b, out);
}

struct slice local_configuration_read(const struct capnp_struct *params)
{
    return capnp_data(params, 0);
}

int configuration_call(struct rpc *r, int32_t version, struct slice json, struct buf *out,
                       uint32_t *ret_id)
{
    struct capnp_builder b;
    struct capnp_ref params;
    int e = rpc_call(r, CONFIGURATION_INTERFACE, METHOD_UPDATE_CONFIGURATION, 1, 1, &b, &params,
                     ret_id);
    if (e < 0)
        return e;
    capnp_put_u32(&b, params, 0, (uint32_t)version);
    capnp_put_data(&b, params, 0, json);
    return rpc_send(&b, out);
}

int configuration_result_read(const struct capnp_struct *results, struct configuration_result *ret)
{
    struct capnp_struct result = capnp_get(results, 0);
    *ret = (struct configuration_result){ .applied = (int32_t)capnp_u32(&result, 0),
                                          .err = capnp_text(&result, 0) };
    return results->msg != NULL && results->msg->err < 0 ? results->msg->err : 0;
}

int empty_answer(struct rpc *r, uint32_t id, struct buf *out)
{
    struct capnp_builder b;
    struct capnp_ref results;
    int e = rpc_answer(r, id, 0, 0, &b, &results);
    return e < 0 ? e : rpc_send(&b, out);
}
