/* adit: the connector, and the whole command line. */
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/cli.h"
#include "codec/json.h"

static const struct opt ROWS[] = {
#define OPT(...) OPT_ROW(struct tunnel_options, __VA_ARGS__)
#include "cli/tunnel_options.def"
#undef OPT
};
#define ROW_COUNT (sizeof ROWS / sizeof ROWS[0])

#define ANY_COUNT SIZE_MAX

static const struct command {
    const char *words; /* behind "tunnel", separated by spaces */
    const char *args, *help;
    size_t args_max; /* more is a mistake, which the command itself need not look for */
    int (*run)(struct cli *, int argc, char **argv);
} COMMANDS[] = {
    /* without any word, and so only ever the first */
    { "", "", "a quick tunnel: --url http://localhost:8000", 0, cmd_tunnel },
    { "login", "", "store cert.pem of the edge of this machine", 0, cmd_login },
    { "create", "NAME", "make a tunnel and write its credentials", ANY_COUNT, cmd_create },
    { "route dns", "TUNNEL HOSTNAME", "lead a hostname to a tunnel", ANY_COUNT, cmd_route_dns },
    { "route balance", "HOSTNAME", "share its requests among replicas; show how", ANY_COUNT,
      cmd_route_balance },
    { "run", "[TUNNEL...]", "connect tunnels: by name, or --token", ANY_COUNT, cmd_run },
    { "list", "", "tunnels", 0, cmd_list },
    { "info", "TUNNEL", "connectors of a tunnel", ANY_COUNT, cmd_info },
    { "token", "TUNNEL", "print the token that runs a tunnel", ANY_COUNT, cmd_token },
    { "cleanup", "TUNNEL...", "close connections of a tunnel", ANY_COUNT, cmd_cleanup },
    { "delete", "TUNNEL...", "delete tunnels", ANY_COUNT, cmd_delete },
    { "ingress validate", "", "check the rules of the configuration file", 0,
      cmd_ingress_validate },
    { "ingress rule", "URL", "which rule answers a URL", ANY_COUNT, cmd_ingress_rule },
};
#define COMMAND_COUNT (sizeof COMMANDS / sizeof COMMANDS[0])

static void usage(const struct cli *c, FILE *to)
{
    (void)fputs("adit: makes a service reachable through an edge, without a public address\n\n",
                to);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        char left[64];
        (void)snprintf(left, sizeof left, "adit tunnel %s%s%s", COMMANDS[i].words,
                       COMMANDS[i].words[0] != 0 ? " " : "", COMMANDS[i].args);
        (void)fprintf(to, "  %-38s %s\n", left, COMMANDS[i].help);
    }
    (void)fputs("  adit version\n\nFlags of adit tunnel:\n", to);
    opt_help(&c->table, to);
}

static bool is(int argc, char **argv, int index, const char *word)
{
    return index < argc && slice_eq(slice_str(argv[index]), slice_str(word));
}

static int no_command(struct cli *c, const char *word)
{
    (void)fault_set(&c->fault, ERR_INVALID, "there is no command %s; see adit --help", word);
    return cli_complain(c);
}

/* How many of argv the words of a command take; -1 when they are others. */
static int take_words(const struct command *command, int argc, char **argv)
{
    struct slice rest = slice_str(command->words), word;
    int count = 0;
    if (rest.n == 0)
        return 0;
    while (slice_split(&rest, ' ', &word))
        if (count >= argc || !slice_eq(slice_str(argv[count++]), word))
            return -1;
    return count;
}

static int run_tunnel(struct cli *c, int argc, char **argv)
{
    for (size_t i = argc > 0 ? 1 : 0; i < COMMAND_COUNT; i++) {
        const struct command *command = &COMMANDS[i];
        int words = take_words(command, argc, argv);
        if (words < 0)
            continue;
        if ((size_t)(argc - words) > command->args_max)
            return cli_usage(c, arena_fmt(&c->arena, "tunnel %s", command->words), "no argument");
        return command->run(c, argc - words, argv + words);
    }
    return no_command(c, argv[0]);
}

static int set_up_log(struct cli *c)
{
    enum log_level level;
    enum log_format format;
    enum protocol protocol;
    if (log_level_parse(slice_str(c->o.log_level), &level) < 0)
        return fault_set(&c->fault, ERR_INVALID,
                         "--loglevel %s: trace, debug, info, warn, error or off is wanted",
                         c->o.log_level);
    if (log_format_parse(slice_str(c->o.log_format), &format) < 0)
        return fault_set(&c->fault, ERR_INVALID, "--log-format %s: logfmt or json is wanted",
                         c->o.log_format);
    if (cli_protocol(c, c->o.protocol, &protocol) < 0)
        return c->fault.code;
    if (slice_eq(slice_str(c->o.output), SLICE("json")))
        format = LOG_JSON;
    log_setup(level, format, 2);
    return 0;
}

/* What is copied by now needs no longer be in the process list. */
static void hide_secrets(int argc, char **argv)
{
    static const char *const FLAGS[] = { "token", "credentials-contents", "secret", "s", NULL };
    static const char *const VARIABLES[] = { "TUNNEL_TOKEN", "TUNNEL_CRED_CONTENTS",
                                             "TUNNEL_CREATE_SECRET", NULL };
    confine_hide(argc, argv, FLAGS, VARIABLES);
}

/* `all` has argv as it was: the words behind flags move to the front of argv. */
static int run(struct cli *c, int argc, char **argv, char **all)
{
    static char version[] = "version";
    int count = 0;
    if (argc == 2 &&
        (is(argc, argv, 1, "--version") || is(argc, argv, 1, "-v") || is(argc, argv, 1, "-V")))
        argv[1] = version;
    int r = opt_args(&c->table, 1, argc - 1, argv + 1, &count, &c->arena, &c->fault);
    char **words = argv + 1;
    if (r == ERR_CANCELED || (r == 0 && is(count, words, 0, "help"))) {
        usage(c, stdout);
        return 0;
    }
    if (r == 0)
        r = opt_env(&c->table, &c->arena, &c->fault);
    hide_secrets(argc, all);
    if (r == 0)
        r = cli_read_config(c);
    if (r == 0)
        r = set_up_log(c);
    if (r < 0) {
        (void)cli_complain(c);
        return r == ERR_NOTFOUND || r == ERR_PARSE ? 1 : EXIT_USAGE;
    }
    if (is(count, words, 0, "tunnel"))
        return run_tunnel(c, count - 1, words + 1);
    if (is(count, words, 0, "login"))
        return cmd_login(c, 0, words + 1);
    if (is(count, words, 0, "version")) {
        (void)printf("adit %s\n", ADIT_VERSION);
        return 0;
    }
    if (count > 0)
        return no_command(c, words[0]);
    usage(c, stderr);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct cli *c = calloc(1, sizeof *c);
    char **all = calloc((size_t)argc + 1, sizeof(char *));
    enum opt_source sources[ROW_COUNT];
    if (c == NULL || all == NULL)
        return 1;
    memcpy(all, argv, (size_t)argc * sizeof(char *));
    json_wipe_values();
    arena_init_secret(&c->arena, 64 * 1024 * 1024);
    c->table =
        (struct opt_table){ .rows = ROWS, .count = ROW_COUNT, .values = &c->o, .sources = sources };
    opt_defaults(&c->table, &c->arena);
    int status = run(c, argc, argv, all);
    log_settle(true);
    arena_done(&c->arena);
    free(all);
    free(c);
    return status;
}
