/* Recorded conversations of the control stream, played again in both roles. */
#include "tunnel/rpc_wire.h"

/* ---- the client's role ---- */

static struct slice text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? slice_str(text) : (struct slice){ 0 };
}

static struct slice bytes_of(const json_t *object, const char *name, uint8_t *to)
{
    struct slice hex = text_of(object, name);
    assert_int_equal(hex_decode(hex, to), 0);
    return slice_of(to, hex.n / 2);
}

static int register_of(struct wire *w, const json_t *params)
{
    const json_t *auth = json_object_get(params, "auth"),
                 *options = json_object_get(params, "options"),
                 *client = json_object_get(options, "client"), *feature;
    uint8_t secret[64], ip[16], id[16];
    struct register_params p = {
        .account = text_of(auth, "accountTag"),
        .secret = bytes_of(auth, "tunnelSecret", secret),
        .index = (uint8_t)json_integer_value(json_object_get(params, "connIndex")),
        .attempts = (uint8_t)json_integer_value(json_object_get(options, "numPreviousAttempts")),
        .version = text_of(client, "version"),
        .arch = text_of(client, "arch"),
        .local_ip = bytes_of(options, "originLocalIp", ip),
    };
    uint32_t question;
    size_t i;
    memcpy(p.tunnel.bytes, bytes_of(params, "tunnelId", id).p, 16);
    memcpy(p.connector.bytes, bytes_of(client, "clientId", id).p, 16);
    json_array_foreach(json_object_get(client, "features"), i, feature)
        p.features[p.feature_count++] = slice_str(json_string_value(feature));
    return register_call(w->rpc, &p, &w->out, &question);
}

/* Has our client say what the reference's said at this point; answers of its own accord (Finish)
 * are there already. */
static void say(struct wire *w, const json_t *message)
{
    const char *kind = json_string_value(json_object_get(message, "kind"));
    const json_t *fields = json_object_get(message, "fields"),
                 *params = json_object_get(fields, "params");
    const char *method = json_string_value(json_object_get(fields, "method"));
    uint32_t id;
    if (strcmp(kind, "bootstrap") == 0)
        assert_int_equal(rpc_bootstrap(w->rpc, &w->out), 0);
    else if (strcmp(kind, "abort") == 0)
        assert_int_equal(rpc_abort(&w->out, "rpc: shutdown"), 0);
    else if (strcmp(kind, "call") != 0)
        return;
    else if (strcmp(method, "RegistrationServer.registerConnection") == 0)
        assert_int_equal(register_of(w, params), 0);
    else if (strcmp(method, "RegistrationServer.unregisterConnection") == 0)
        assert_int_equal(unregister_call(w->rpc, &w->out, &id), 0);
    else if (strcmp(method, "RegistrationServer.updateLocalConfiguration") == 0)
        assert_int_equal(local_configuration_call(w->rpc, text_of(params, "config"), &w->out, &id),
                         0);
    else
        fail_msg("what is %s?", method);
}

static struct capnp_struct open_body(struct capnp_message *m, struct slice frame,
                                     uint16_t *ret_kind)
{
    struct capnp_struct root;
    assert_int_equal(capnp_open(m, frame, &root), 0);
    *ret_kind = capnp_u16(&root, 0);
    return capnp_get(&root, 0);
}

static void same_params(const struct capnp_struct *ours, const struct capnp_struct *theirs)
{
    struct register_params a, b;
    assert_int_equal(register_params_read(ours, &a), register_params_read(theirs, &b));
    assert_true(slice_eq(a.account, b.account) && slice_eq(a.secret, b.secret) &&
                uuid_eq(&a.tunnel, &b.tunnel) && uuid_eq(&a.connector, &b.connector) &&
                a.index == b.index && a.attempts == b.attempts &&
                a.replace_existing == b.replace_existing && slice_eq(a.version, b.version) &&
                slice_eq(a.arch, b.arch) && slice_eq(a.local_ip, b.local_ip) &&
                a.feature_count == b.feature_count && a.feature_count == 5);
    for (uint32_t i = 0; i < a.feature_count; i++)
        assert_true(slice_eq(a.features[i], b.features[i]));
}

/* Calls are compared by what they say: the reference writes an empty list (of a target's transform)
 * where we write null. */
static void same_call(struct slice our_frame, struct slice their_frame)
{
    struct capnp_message m, n;
    uint16_t k, l;
    struct capnp_struct p = open_body(&m, our_frame, &k), q = open_body(&n, their_frame, &l);
    struct capnp_struct pt = capnp_get(&p, 0), qt = capnp_get(&q, 0), pp = capnp_get(&p, 1),
                        qp = capnp_get(&q, 1), pc = capnp_get(&pp, 0), qc = capnp_get(&qp, 0),
                        pa = capnp_get(&pt, 0), qa = capnp_get(&qt, 0);
    assert_int_equal(k, l);
    for (uint32_t at = 0; at < 24; at += 8)
        assert_true(capnp_u64(&p, at) == capnp_u64(&q, at));
    assert_true(capnp_u64(&pt, 0) == capnp_u64(&qt, 0));
    assert_true(capnp_u64(&pa, 0) == capnp_u64(&qa, 0) && capnp_list(&qa, 0).count == 0 &&
                capnp_list(&pa, 0).count == 0 && capnp_list(&qp, 1).count == 0);
    if (capnp_u16(&q, 4) == METHOD_REGISTER)
        same_params(&pc, &qc);
    else if (capnp_u16(&q, 4) == METHOD_LOCAL_CONFIGURATION)
        assert_true(slice_eq(capnp_data(&pc, 0), capnp_data(&qc, 0)) && capnp_has(&pc, 0));
    assert_true(m.err == 0 && n.err == 0);
}

/* Takes the recorded message off our output. */
static void expect(struct wire *w, const char *name, const json_t *message)
{
    struct slice hex = text_of(message, "hex");
    const char *kind = json_string_value(json_object_get(message, "kind"));
    uint8_t start[8], *theirs = malloc(hex.n / 2);
    size_t size;
    assert_int_equal(hex_decode(hex, theirs), 0);
    if (capnp_frame(slice_of(start, buf_copy(&w->out, 0, start, sizeof start)), &size) < 0)
        fail_msg("%s: our %s is missing", name, kind);
    uint8_t *ours = malloc(size);
    assert_int_equal(buf_copy(&w->out, 0, ours, size), size);
    buf_drop(&w->out, size);
    if (strcmp(kind, "call") == 0)
        same_call(slice_of(ours, size), slice_of(theirs, hex.n / 2));
    else if (!slice_eq(slice_of(ours, size), slice_of(theirs, hex.n / 2)))
        fail_msg("%s: our %s is another", name, kind);
    free(ours);
    free(theirs);
}

static void check_outcome(const char *name, const struct rpc_event *e, const json_t *fields)
{
    const json_t *results = json_object_get(fields, "results"),
                 *error = json_object_get(results, "error"),
                 *details = json_object_get(results, "connectionDetails");
    struct register_result got;
    if (e->kind != RPC_RETURN)
        fail_msg("%s: the answer is no result", name);
    if (error == NULL && details == NULL)
        return;
    assert_int_equal(register_result_read(&e->value, &got), 0);
    assert_int_equal(got.is_accepted, details != NULL);
    if (error != NULL) {
        assert_true(slice_eq(got.cause, text_of(error, "cause")));
        assert_int_equal(got.should_retry, json_is_true(json_object_get(error, "shouldRetry")));
        assert_int_equal(got.retry_after_ns,
                         json_integer_value(json_object_get(error, "retryAfterNs")));
    } else {
        uint8_t id[16];
        assert_true(slice_eq(got.location, text_of(details, "locationName")));
        assert_memory_equal(got.connection.bytes, bytes_of(details, "uuid", id).p, 16);
        assert_int_equal(got.is_remotely_managed,
                         json_is_true(json_object_get(details, "tunnelIsRemotelyManaged")));
    }
}

static void hear(struct wire *w, const char *name, const json_t *message)
{
    const json_t *fields = json_object_get(message, "fields");
    const char *method = json_string_value(json_object_get(fields, "answersMethod"));
    struct rpc_event e;
    put_hex(w, json_string_value(json_object_get(message, "hex")));
    int r = rpc_next(w->rpc, &w->in, &w->out, &e);
    /* The bootstrap's answer is no event, nor is one to a call that was given up. */
    bool is_event =
        strcmp(method, "bootstrap") != 0 && strcmp(name, "control_register_timeout") != 0;
    assert_int_equal(r, is_event ? 0 : ERR_AGAIN);
    if (is_event)
        check_outcome(name, &e, fields);
}

TEST(our_client_says_what_the_references_says)
{
    json_t *doc = load("rpc_transcripts.json"), *v, *m;
    size_t i, k, conversations = 0, checked = 0;
    json_array_foreach(json_object_get(doc, "vectors"), i, v)
    {
        const char *name = json_string_value(json_object_get(v, "name"));
        struct wire w;
        /* Of the connector's conversations that of UDP sessions belongs to a later time. */
        if (strcmp(json_string_value(json_object_get(v, "client")), "connector") != 0 ||
            strcmp(name, "connector_rpc_unregister_udp") == 0)
            continue;
        wire_open(&w);
        json_array_foreach(json_object_get(v, "messages"), k, m)
        {
            const char *kind = json_string_value(json_object_get(m, "kind"));
            bool is_client = strcmp(json_string_value(json_object_get(m, "from")), "client") == 0;
            /* Release is best effort: ours leaves it out, the end of the stream releases all. */
            if (strcmp(kind, "close") == 0 || strcmp(kind, "release") == 0)
                continue;
            if (!is_client) {
                hear(&w, name, m);
                continue;
            }
            bool gives_up =
                strcmp(name, "control_register_timeout") == 0 && strcmp(kind, "finish") == 0 &&
                json_is_true(json_object_get(json_object_get(m, "fields"), "releaseResultCaps"));
            if (gives_up)
                CHECK_OK(rpc_cancel(w.rpc, 1, &w.out));
            say(&w, m);
            expect(&w, name, m);
            checked++;
        }
        CHECK(buf_is_empty(&w.out));
        conversations++;
        wire_close(&w);
    }
    CHECK(conversations == 7);
    CHECK(checked == 41);
    json_decref(doc);
}

/* ---- the edge's role ---- */

static void answer_of(struct wire *w, const char *name, const struct rpc_event *call,
                      const json_t *answer)
{
    const json_t *fields = json_object_get(answer, "fields"),
                 *results = json_object_get(fields, "results"),
                 *error = json_object_get(results, "error"),
                 *details = json_object_get(results, "connectionDetails");
    struct register_result r = { .is_accepted = details != NULL,
                                 .cause = text_of(error, "cause"),
                                 .location = text_of(details, "locationName") };
    uint8_t id[16];
    if (json_object_get(fields, "exception") != NULL) {
        const char *reason =
            json_string_value(json_object_get(json_object_get(fields, "exception"), "reason"));
        if (call->interface == REGISTRATION_INTERFACE)
            assert_int_equal(rpc_answer_exception(w->rpc, call->id, reason, &w->out), 0);
        else
            assert_int_equal(rpc_answer_unimplemented(w->rpc, call, &w->out), 0);
    } else if (error == NULL && details == NULL) {
        assert_int_equal(empty_answer(w->rpc, call->id, &w->out), 0);
    } else {
        r.should_retry = json_is_true(json_object_get(error, "shouldRetry"));
        r.retry_after_ns = (uint64_t)json_integer_value(json_object_get(error, "retryAfterNs"));
        r.is_remotely_managed = json_is_true(json_object_get(details, "tunnelIsRemotelyManaged"));
        if (details != NULL)
            memcpy(r.connection.bytes, bytes_of(details, "uuid", id).p, 16);
        assert_int_equal(register_answer(w->rpc, call->id, &r, &w->out), 0);
    }
    (void)name;
}

/* Both frames say the same, though an empty list may be written or left out. */
static void same_answer(const char *name, struct wire *w, const json_t *answer)
{
    struct slice hex = text_of(answer, "hex");
    uint8_t start[8], *theirs = malloc(hex.n / 2);
    size_t size = 0;
    struct capnp_message a, b;
    struct capnp_struct x, y;
    assert_int_equal(hex_decode(hex, theirs), 0);
    if (capnp_frame(slice_of(start, buf_copy(&w->out, 0, start, sizeof start)), &size) < 0)
        fail_msg("%s: there is no answer", name);
    uint8_t *ours = malloc(size);
    (void)buf_copy(&w->out, 0, ours, size);
    buf_drop(&w->out, size);
    assert_int_equal(capnp_open(&a, slice_of(ours, size), &x), 0);
    assert_int_equal(capnp_open(&b, slice_of(theirs, hex.n / 2), &y), 0);
    struct capnp_struct p = capnp_get(&x, 0), q = capnp_get(&y, 0), pv = capnp_get(&p, 0),
                        qv = capnp_get(&q, 0);
    if (capnp_u16(&x, 0) != capnp_u16(&y, 0) || capnp_u64(&p, 0) != capnp_u64(&q, 0) ||
        capnp_list(&pv, 1).count != capnp_list(&qv, 1).count)
        fail_msg("%s: our answer is another", name);
    if (capnp_u16(&p, 6) == 1)
        assert_true(slice_eq(capnp_text(&pv, 0), capnp_text(&qv, 0)));
    struct capnp_struct pc = capnp_get(&pv, 0), qc = capnp_get(&qv, 0), pr, qr;
    struct register_result m, n;
    if (capnp_u16(&p, 6) == 0 && capnp_has(&qc, 0)) {
        pr = pc;
        qr = qc;
        assert_int_equal(register_result_read(&pr, &m), register_result_read(&qr, &n));
        assert_true(m.is_accepted == n.is_accepted && m.should_retry == n.should_retry &&
                    m.retry_after_ns == n.retry_after_ns && slice_eq(m.cause, n.cause) &&
                    slice_eq(m.location, n.location) && uuid_eq(&m.connection, &n.connection) &&
                    m.is_remotely_managed == n.is_remotely_managed);
    }
    free(ours);
    free(theirs);
}

static const json_t *next_answer(const json_t *messages, size_t *at)
{
    for (; *at < json_array_size(messages); (*at)++) {
        const json_t *m = json_array_get(messages, *at);
        if (strcmp(json_string_value(json_object_get(m, "from")), "server") == 0 &&
            strcmp(json_string_value(json_object_get(m, "kind")), "return") == 0) {
            (*at)++;
            return m;
        }
    }
    return NULL;
}

TEST(our_edge_answers_what_a_reference_edge_answers)
{
    json_t *doc = load("rpc_transcripts.json"), *v, *m;
    size_t i, k, answers = 0;
    json_array_foreach(json_object_get(doc, "vectors"), i, v)
    {
        const char *name = json_string_value(json_object_get(v, "name"));
        const json_t *messages = json_object_get(v, "messages"), *answer;
        struct wire w;
        struct rpc_event e;
        size_t at = 0;
        if (strcmp(json_string_value(json_object_get(v, "server")), "edge") != 0)
            continue;
        wire_open(&w);
        json_array_foreach(messages, k, m)
        {
            const char *kind = json_string_value(json_object_get(m, "kind"));
            if (strcmp(json_string_value(json_object_get(m, "from")), "client") != 0 ||
                strcmp(kind, "signature") == 0 || strcmp(kind, "close") == 0)
                continue;
            put_hex(&w, json_string_value(json_object_get(m, "hex")));
            while (rpc_next(w.rpc, &w.in, &w.out, &e) == 0 && e.kind != RPC_OVER) {
                CHECK(e.kind == RPC_CALL);
                if (!buf_is_empty(&w.out)) { /* to the bootstrap before it */
                    same_answer(name, &w, next_answer(messages, &at));
                    answers++;
                }
                answer = next_answer(messages, &at);
                answer_of(&w, name, &e, answer);
                same_answer(name, &w, answer);
                answers++;
            }
        }
        CHECK(e.kind == RPC_OVER && buf_is_empty(&w.out));
        wire_close(&w);
    }
    CHECK(answers == 22);
    json_decref(doc);
}

/* ---- a live control stream, in the pieces in which it was written ---- */

TEST(a_live_control_stream_is_understood_at_both_ends)
{
    json_t *doc = load("live_capture.json"), *m;
    json_t *events = json_object_get(json_object_get(doc, "quic_control_stream"), "events");
    struct wire edge, connector;
    struct rpc_event e;
    size_t i, calls = 0, answers = 0;
    uint32_t id;
    uint16_t methods[4];
    wire_open(&edge);
    wire_open(&connector);
    CHECK_OK(rpc_bootstrap(connector.rpc, &connector.out));
    CHECK_OK(unregister_call(connector.rpc, &connector.out, &id)); /* stands for question 1 */
    json_array_foreach(events, i, m)
    {
        const char *hex = json_string_value(json_object_get(m, "hex"));
        bool is_edges = strncmp(json_string_value(json_object_get(m, "direction")), "edge", 4) == 0;
        struct wire *to = is_edges ? &connector : &edge;
        put_hex(to, hex);
        while (rpc_next(to->rpc, &to->in, &to->out, &e) == 0 && e.kind != RPC_OVER) {
            CHECK(e.kind == (is_edges ? RPC_RETURN : RPC_CALL));
            answers += is_edges;
            if (is_edges && answers < 3) /* the next question, under the same id */
                CHECK_OK(unregister_call(connector.rpc, &connector.out, &id));
            if (is_edges)
                continue;
            CHECK(e.interface == REGISTRATION_INTERFACE && calls < 4);
            methods[calls++] = e.method;
            CHECK_OK(empty_answer(edge.rpc, e.id, &edge.out));
        }
    }
    CHECK(calls == 3 && methods[0] == METHOD_REGISTER && methods[1] == METHOD_LOCAL_CONFIGURATION &&
          methods[2] == METHOD_UNREGISTER);
    CHECK(answers == 3);
    CHECK(e.kind == RPC_OVER); /* its last word is the abort of a shutdown */
    wire_close(&edge);
    wire_close(&connector);
    json_decref(doc);
}

/* ---- ids ---- */

static void same_id(const json_t *doc, const char *interface, uint64_t id, const char *method,
                    uint16_t method_id)
{
    const json_t *one, *m;
    size_t i, k;
    json_array_foreach(json_object_get(doc, "interfaces"), i, one)
    {
        if (strcmp(json_string_value(json_object_get(one, "interface")), interface) != 0)
            continue;
        assert_true(strtoull(json_string_value(json_object_get(one, "id")), NULL, 16) == id);
        json_array_foreach(json_object_get(one, "methods"), k, m)
        {
            if (strcmp(json_string_value(json_object_get(m, "name")), method) == 0) {
                assert_int_equal(json_integer_value(json_object_get(m, "id")), method_id);
                return;
            }
        }
    }
    fail_msg("there is no %s.%s", interface, method);
}

TEST(interfaces_and_methods_have_the_ids_of_the_layouts)
{
    json_t *doc = load("layouts.json");
    same_id(doc, "RegistrationServer", REGISTRATION_INTERFACE, "registerConnection",
            METHOD_REGISTER);
    same_id(doc, "RegistrationServer", REGISTRATION_INTERFACE, "unregisterConnection",
            METHOD_UNREGISTER);
    same_id(doc, "RegistrationServer", REGISTRATION_INTERFACE, "updateLocalConfiguration",
            METHOD_LOCAL_CONFIGURATION);
    same_id(doc, "SessionManager", SESSION_INTERFACE, "registerUdpSession", METHOD_REGISTER_UDP);
    same_id(doc, "SessionManager", SESSION_INTERFACE, "unregisterUdpSession",
            METHOD_UNREGISTER_UDP);
    same_id(doc, "ConfigurationManager", CONFIGURATION_INTERFACE, "updateConfiguration",
            METHOD_UPDATE_CONFIGURATION);
    (void)state_;
    json_decref(doc);
}

TESTS(RUN(interfaces_and_methods_have_the_ids_of_the_layouts),
      RUN(our_client_says_what_the_references_says),
      RUN(our_edge_answers_what_a_reference_edge_answers),
      RUN(a_live_control_stream_is_understood_at_both_ends))
