/* confine_probe ROLE DIR USER ATTEMPT [ARGUMENT]: confines itself as an edge or a connector would,
 * with DIR as the data directory, makes one attempt, and prints what came of it: "ok", or the name
 * of the errno. Attempts that are deadly end it by SIGSYS. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "confine/confine_int.h"

static int result(long r)
{
    return r < 0 ? errno : 0;
}

/* ---- attempts: 0 or errno ---- */

static int try_read(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char c;
    int e = result(fd);
    if (fd >= 0) {
        e = result(read(fd, &c, 1));
        close(fd);
    }
    return e;
}

static int try_write(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int e = result(fd);
    if (fd >= 0) {
        e = result(write(fd, "x", 1));
        close(fd);
        unlink(path);
    }
    return e;
}

static int try_rename(const char *path)
{
    char other[4096];
    (void)snprintf(other, sizeof other, "%s.new", path);
    int fd = open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    close(fd);
    int e = result(rename(other, path));
    unlink(path);
    return e;
}

static int try_list(const char *path)
{
    return result(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static int try_exec(const char *path)
{
    char *argv[] = { (char *)(uintptr_t)path, NULL }, *env[] = { NULL };
    return result(execve(path, argv, env));
}

static int try_fork(const char *none)
{
    (void)none;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return result(pid);
}

static int try_ptrace(const char *none)
{
    (void)none;
    return result(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int try_call(const char *number)
{
    return result(syscall(strtol(number, NULL, 10), 0, 0, 0, 0, 0, 0));
}

static int try_kill(const char *pid)
{
    return result(kill((pid_t)strtol(pid, NULL, 10), 0));
}

static int try_socket(const char *family)
{
    return result(socket((int)strtol(family, NULL, 10), SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

static int try_raw(const char *family)
{
    return result(socket((int)strtol(family, NULL, 10), SOCK_RAW | SOCK_CLOEXEC, 1));
}

static int tcp(const char *port, int (*use)(int, const struct sockaddr *, socklen_t))
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtol(port, NULL, 10)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? errno : result(use(fd, (const struct sockaddr *)&a, sizeof a));
}

static int try_connect(const char *port)
{
    return tcp(port, connect);
}

static int try_bind(const char *port)
{
    return tcp(port, bind);
}

static int bound = -1; /* a socket that was there before */

static int try_listen(const char *none)
{
    (void)none;
    return result(listen(bound, 1));
}

static int try_code(const char *none)
{
    (void)none;
    void *p =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? errno : 0;
}

static int try_mprotect(const char *none)
{
    (void)none;
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? errno : result(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int try_root(const char *none)
{
    (void)none;
    return result(setresuid(0, 0, 0));
}

static int try_core(const char *none)
{
    struct rlimit limit = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };
    (void)none;
    return result(setrlimit(RLIMIT_CORE, &limit));
}

static void *nothing(void *p)
{
    return p;
}

static int try_thread(const char *none)
{
    pthread_t t;
    (void)none;
    int e = pthread_create(&t, NULL, nothing, NULL);
    if (e == 0)
        pthread_join(t, NULL);
    return e;
}

static int try_nothing(const char *none)
{
    (void)none;
    return 0;
}

static const struct attempt {
    const char *name;
    int (*run)(const char *);
} ATTEMPTS[] = {
    { "read", try_read },         { "write", try_write },     { "rename", try_rename },
    { "list", try_list },         { "exec", try_exec },       { "fork", try_fork },
    { "ptrace", try_ptrace },     { "call", try_call },       { "kill", try_kill },
    { "socket", try_socket },     { "raw", try_raw },         { "connect", try_connect },
    { "bind", try_bind },         { "listen", try_listen },   { "code", try_code },
    { "mprotect", try_mprotect }, { "root", try_root },       { "core", try_core },
    { "thread", try_thread },     { "nothing", try_nothing },
};

/* The attempt is made by a second thread too: what holds for one must hold for all. */
struct job {
    const struct attempt *attempt;
    const char *argument;
    int error;
};

static void *run_job(void *arg)
{
    struct job *j = arg;
    j->error = j->attempt->run(j->argument);
    return NULL;
}

int main(int argc, char **argv)
{
    struct confine c = { .mode = CONFINE_AUTO };
    struct fault fault = { 0 };
    struct job job = { .argument = argc > 5 ? argv[5] : "" };
    pthread_t thread;
    if (argc < 5)
        return 2;
    for (size_t i = 0; i < sizeof ATTEMPTS / sizeof ATTEMPTS[0]; i++)
        if (strcmp(ATTEMPTS[i].name, argv[4]) == 0)
            job.attempt = &ATTEMPTS[i];
    if (job.attempt == NULL)
        return 2;
    log_setup(LOG_INFO, LOG_LOGFMT, 2);
    bool is_edge = strcmp(argv[1], "edge") == 0;
    c.user = argv[3];
    c.may_dial = !is_edge;
    if (is_edge)
        c.own_dir = argv[2];
    if (confine_start(&c, &fault) < 0) {
        (void)fprintf(stderr, "%s\n", fault.text);
        return 3;
    }
    bound = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (confine_bound(&c, &fault) < 0)
        return 3;
    (void)printf("sanitized=%d landlock=%d seccomp=%d uid=%u\n", CONFINE_SANITIZED, c.landlock_abi,
                 c.has_seccomp, (unsigned)getuid());
    (void)fflush(stdout);
    if (pthread_create(&thread, NULL, run_job, &job) != 0)
        return 3;
    pthread_join(thread, NULL);
    (void)printf("%s\n", job.error == 0 ? "ok" : strerrorname_np(job.error));
    return 0;
}
