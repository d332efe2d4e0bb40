#include "tunnel/rpc_wire.h"

TEST(a_registration_crosses_and_its_answer_comes_back)
{
    struct wire client, server;
    struct rpc_event e;
    struct register_params p = { .account = SLICE("account"),
                                 .secret = SLICE("secret"),
                                 .index = 3,
                                 .attempts = 2,
                                 .version = SLICE("1"),
                                 .arch = SLICE("linux_amd64"),
                                 .feature_count = 2 },
                           got;
    struct register_result result = { .is_accepted = true,
                                      .location = SLICE("ADT"),
                                      .is_remotely_managed = true },
                           back;
    uint32_t id;
    p.features[0] = SLICE("one");
    p.features[1] = SLICE("two");
    memset(p.tunnel.bytes, 1, 16);
    memset(result.connection.bytes, 5, 16);
    wire_open(&client);
    wire_open(&server);
    CHECK_OK(rpc_bootstrap(client.rpc, &client.out));
    CHECK_OK(register_call(client.rpc, &p, &client.out, &id));
    /* Byte by byte: a message may be cut anywhere. */
    while (!buf_is_empty(&client.out)) {
        CHECK_ERR(ERR_AGAIN, rpc_next(server.rpc, &server.in, &server.out, &e));
        CHECK(buf_move(&server.in, &client.out, 1) == 1);
    }
    CHECK_OK(rpc_next(server.rpc, &server.in, &server.out, &e));
    CHECK(e.kind == RPC_CALL && e.interface == REGISTRATION_INTERFACE &&
          e.method == METHOD_REGISTER);
    CHECK_OK(register_params_read(&e.value, &got));
    CHECK_SLICE(got.account, p.account);
    CHECK_SLICE(got.features[1], SLICE("two"));
    CHECK(got.index == 3 && got.attempts == 2 && uuid_eq(&got.tunnel, &p.tunnel));
    CHECK_OK(register_answer(server.rpc, e.id, &result, &server.out));
    (void)buf_move(&client.in, &server.out, SIZE_MAX);
    CHECK_OK(rpc_next(client.rpc, &client.in, &client.out, &e));
    CHECK(e.kind == RPC_RETURN && e.id == id);
    CHECK_OK(register_result_read(&e.value, &back));
    CHECK(back.is_accepted && back.is_remotely_managed &&
          uuid_eq(&back.connection, &result.connection));
    CHECK_SLICE(back.location, SLICE("ADT"));
    /* Later calls go to the object that the bootstrap gave. */
    CHECK_OK(unregister_call(client.rpc, &client.out, &id));
    (void)buf_move(&server.in, &client.out, SIZE_MAX);
    CHECK_OK(rpc_next(server.rpc, &server.in, &server.out, &e));
    CHECK(e.kind == RPC_CALL && e.method == METHOD_UNREGISTER);
    wire_close(&client);
    wire_close(&server);
}

TEST(calls_under_way_are_bounded)
{
    struct wire w;
    uint32_t id;
    int r = 0, n = 0;
    wire_open(&w);
    CHECK_OK(rpc_bootstrap(w.rpc, &w.out));
    while (n < 1000 && (r = unregister_call(w.rpc, &w.out, &id)) == 0)
        n++;
    CHECK(r == ERR_LIMIT && n == RPC_CALLS_MAX - 1);
    wire_close(&w);
}

static void check_text(struct slice got, const json_t *object, const char *name, void **state_)
{
    const char *want = json_string_value(json_object_get(object, name));
    CHECK(want != NULL);
    CHECK_SLICE(got, slice_str(want));
}

static void check_registration(const struct register_params *p, const json_t *want, void **state_)
{
    const json_t *options = json_object_get(want, "options"),
                 *client = json_object_get(options, "client");
    check_text(p->account, json_object_get(want, "auth"), "accountTag", state_);
    check_text(p->version, client, "version", state_);
    check_text(p->arch, client, "arch", state_);
    CHECK(p->index == json_integer_value(json_object_get(want, "connIndex")));
    CHECK(p->attempts == json_integer_value(json_object_get(options, "numPreviousAttempts")));
    CHECK(p->feature_count == json_array_size(json_object_get(client, "features")));
    CHECK(p->replace_existing == json_is_true(json_object_get(options, "replaceExisting")));
}

TEST(the_real_connectors_conversations_are_understood)
{
    json_t *doc = load("rpc_transcripts.json"), *v, *m;
    size_t i, k, calls = 0, registrations = 0;
    json_array_foreach(json_object_get(doc, "vectors"), i, v)
    {
        struct wire w;
        wire_open(&w);
        json_array_foreach(json_object_get(v, "messages"), k, m)
        {
            const char *from = json_string_value(json_object_get(m, "from"));
            const char *hex = json_string_value(json_object_get(m, "hex"));
            const char *kind = json_string_value(json_object_get(m, "kind"));
            struct rpc_event e;
            if (from == NULL || hex == NULL || strcmp(from, "client") != 0 ||
                strcmp(kind, "signature") == 0)
                continue;
            put_hex(&w, hex);
            while (rpc_next(w.rpc, &w.in, &w.out, &e) == 0 && e.kind != RPC_OVER) {
                CHECK(e.kind == RPC_CALL);
                calls++;
                if (e.interface == REGISTRATION_INTERFACE && e.method == METHOD_REGISTER) {
                    struct register_params p;
                    if (register_params_read(&e.value, &p) < 0) {
                        CHECK(p.version.n == 0); /* one of them says nothing on purpose */
                    } else {
                        check_registration(
                            &p, json_object_get(json_object_get(m, "fields"), "params"), state_);
                        registrations++;
                    }
                }
                CHECK_OK(empty_answer(w.rpc, e.id, &w.out));
            }
        }
        wire_close(&w);
    }
    CHECK(calls == 26 && registrations == 7);
    json_decref(doc);
}

TESTS(RUN(a_registration_crosses_and_its_answer_comes_back), RUN(calls_under_way_are_bounded),
      RUN(the_real_connectors_conversations_are_understood))
