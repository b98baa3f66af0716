// SPDX-License-Identifier: Apache-2.0
// LINK: svc
// Serves the demo's call page on loopback (what it must offer: tests/support/demo/README.md). The
// list of files is fixed and they are read once, so no request reaches the file system.

#include <signal.h>
#include <stdio.h>

#include "common/base/mem.h"
#include "common/svc/conf.h"
#include "common/svc/httpd.h"
#include "common/svc/jsonx.h"

#define FILE_MAX (16u << 20) // livekit-client is 1 MB
#define PATH_LEN 1024

enum item { ITEM_PORT, ITEM_DIR, ITEM_HOMESERVER, ITEM_SERVER_NAME, ITEM_SERVICE, ITEM_COUNT };

static const struct conf_item items[ITEM_COUNT] = {
    [ITEM_PORT] = {.name = "port",
                   .type = CONF_INT,
                   .flag = {"port"},
                   .def = "8090",
                   .min = 0,
                   .max = 65535,
                   .arg = "PORT",
                   .help = "Port on 127.0.0.1; 0 takes a free one, which is printed."},
    [ITEM_DIR] = {.name = "dir",
                  .flag = {"dir"},
                  .def = "tests/support/demo",
                  .arg = "PATH",
                  .help = "Where the page is; livekit-client is in its node_modules."},
    [ITEM_HOMESERVER] = {.name = "homeserver",
                         .flag = {"homeserver"},
                         .def = "http://127.0.0.1:8008",
                         .arg = "URL",
                         .help = "Homeserver that the page asks for OpenID tokens."},
    [ITEM_SERVER_NAME] = {.name = "server_name",
                          .flag = {"server-name"},
                          .def = "localhost",
                          .arg = "NAME",
                          .help = "Server part of the user ids."},
    [ITEM_SERVICE] = {.name = "service",
                      .flag = {"service"},
                      .def = "http://127.0.0.1:8080",
                      .arg = "URL",
                      .help = "foci-jwt, as the page reaches it."},
};

static const struct conf_spec spec = {
    .program = "demo_server",
    .version = "1",
    .summary = "Serves the demo's call page, on loopback only.",
    .items = items,
    .count = ITEM_COUNT,
};

static const struct {
    const char *path, *file, *type;
} pages[] = {
    {"/", "index.html", "text/html; charset=utf-8"},
    {"/index.html", "index.html", "text/html; charset=utf-8"},
    {"/app.js", "app.js", "text/javascript; charset=utf-8"},
    {"/matrix.js", "matrix.js", "text/javascript; charset=utf-8"},
    {"/style.css", "style.css", "text/css; charset=utf-8"},
    {"/vendor/livekit-client.umd.js", "node_modules/livekit-client/dist/livekit-client.umd.js",
     "text/javascript; charset=utf-8"},
};

#define PAGES ARRAY_LEN(pages)

struct content {
    const char *type;
    char *text;
    size_t n;
};

struct server {
    struct conf *conf;
    struct loop *loop;
    struct httpd *httpd;
    struct loop_signal *signals[2];
    struct content contents[PAGES + 1]; // the last is config.json
};

static void on_page(void *user, struct httpd_req *req)
{
    const struct content *const c = user;
    httpd_add_header(req, "Cache-Control", "no-cache");
    httpd_respond(req, 200, c->type, bytes_of(c->text, c->n));
}

static int read_pages(struct server *s)
{
    char path[PATH_LEN];
    for (size_t i = 0; i < PAGES; i++) {
        struct content *const c = &s->contents[i];
        (void)snprintf(path, sizeof(path), "%s/%s", conf_str(s->conf, ITEM_DIR), pages[i].file);
        int const r = conf_read_file(path, FILE_MAX, &c->text, &c->n);
        if (r < 0) {
            (void)fprintf(stderr, "demo_server: cannot read %s: %s\n", path, strerror(-r));
            return r;
        }
        c->type = pages[i].type;
    }
    return 0;
}

static int make_config(struct server *s)
{
    struct content *const c = &s->contents[PAGES];
    CLEANUP(jsonx_free) struct jsonx *j = jsonx_new_object();
    if (!j || jsonx_set_cstr(j, "homeserver", conf_str(s->conf, ITEM_HOMESERVER)) < 0 ||
        jsonx_set_cstr(j, "server_name", conf_str(s->conf, ITEM_SERVER_NAME)) < 0 ||
        jsonx_set_cstr(j, "service", conf_str(s->conf, ITEM_SERVICE)) < 0 ||
        jsonx_set_bool(j, "register", false) < 0) {
        return -ENOMEM;
    }
    c->type = "application/json";
    c->text = jsonx_dump(j, 0, &c->n);
    return c->text ? 0 : -ENOMEM;
}

static int listen_on(struct server *s)
{
    struct addr const at = addr_v4(127, 0, 0, 1, (uint16_t)conf_int(s->conf, ITEM_PORT));
    struct httpd_route routes[PAGES + 1];
    for (size_t i = 0; i <= PAGES; i++) {
        routes[i] = (struct httpd_route){.path = i < PAGES ? pages[i].path : "/config.json",
                                         .methods = "GET",
                                         .handler = on_page,
                                         .user = &s->contents[i]};
    }
    struct httpd_conf const conf = {
        .listen = &at, .listen_count = 1, .routes = routes, .route_count = ARRAY_LEN(routes)};
    int const r = httpd_new(s->loop, &conf, &s->httpd, NULL);
    if (r < 0) {
        (void)fprintf(stderr, "demo_server: cannot listen on 127.0.0.1:%d: %s; choose --port\n",
                      (int)at.port, strerror(-r));
    }
    return r;
}

static void on_signal(void *user, int signum)
{
    (void)signum;
    loop_stop(user);
}

static int serve(struct server *s)
{
    static const int signums[] = {SIGTERM, SIGINT};
    s->loop = loop_new();
    if (!s->loop) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < ARRAY_LEN(signums); i++) {
        s->signals[i] = loop_signal_new(s->loop, signums[i], on_signal, s->loop);
    }
    int r = read_pages(s);
    r = r < 0 ? r : make_config(s);
    r = r < 0 ? r : listen_on(s);
    if (r < 0) {
        return r;
    }
    struct addr const at = httpd_address(s->httpd, 0);
    char text[ADDR_STRLEN];
    // For scripts that wait for it.
    (void)printf("demo_server: on http://%s\n", addr_format(&at, text));
    (void)fflush(stdout);
    loop_run(s->loop);
    return 0;
}

static void done(struct server *s)
{
    httpd_free(s->httpd);
    for (size_t i = 0; i < ARRAY_LEN(s->contents); i++) {
        mem_free(s->contents[i].text);
    }
    for (size_t i = 0; i < ARRAY_LEN(s->signals); i++) {
        if (s->signals[i]) {
            loop_signal_free(s->signals[i]);
        }
    }
    loop_free(s->loop);
    conf_free(s->conf);
}

int main(int argc, char **argv)
{
    struct server s = {0};
    char err[CONF_ERROR_MAX] = "out of memory";
    (void)signal(SIGPIPE, SIG_IGN);
    if (conf_load(&spec, argc, (const char *const *)argv, NULL, &s.conf, err) < 0) {
        (void)fprintf(stderr, "demo_server: %s\n", err);
        return 1;
    }
    int r = 0;
    if (conf_action(s.conf) == CONF_SHOW_HELP) {
        struct dynbuf out;
        dynbuf_init(&out, 64u << 10);
        conf_help(&spec, &out);
        (void)fwrite(out.p, 1, out.n, stdout);
        dynbuf_done(&out);
    } else {
        r = serve(&s);
    }
    done(&s);
    return r < 0 ? 1 : 0;
}
