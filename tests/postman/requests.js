// @ts-nocheck: scripts run in Postman, which defines `pm` and joins them.
// The requests of the Postman collection with their tests. build.js adds methods, paths, parameters
// and descriptions from docs/openapi.json and the table of errors in docs/api.md.
//
// Scripts are functions whose bodies become the text of the script; they run in Postman, where `pm`
// is defined. A list of scripts becomes one text.
//
//   operation, path, query, headers, body, form, raw   what is sent; path is the value of the {id},
//                                                      or a list of values
//   code                                               the request brings about this error
//   about                                              replaces or, with `code`, adds to the description
//   needsKey                                           skipped unless the variable `apiKey` is set
//   token                                              sent as the key, instead of `apiKey`; none if empty

/** The text of a script: the body of a function without its indentation. */
export function text(script) {
  if (Array.isArray(script)) return script.map(text).join("\n\n");
  if (typeof script === "string") return script;
  const lines = script.toString().split("\n").slice(1, -1);
  const indents = lines.filter((line) => line.trim()).map((line) => line.search(/\S/));
  const indent = Math.min(...indents);
  return lines.map((line) => line.slice(indent)).join("\n");
}

/** A script with values in the place of names. */
const filled = (script, values) =>
  Object.entries(values).reduce(
    (result, [name, value]) => result.replaceAll(name, JSON.stringify(value)),
    text(script),
  );

export const ifKeyed = () => {
  if (!pm.variables.get("apiKey")) {
    console.log("Skipped: apiKey is not set");
    pm.execution.skipRequest();
  }
};

const newUser = () => {
  // A new name for each run, so that earlier runs have no effect.
  pm.collectionVariables.set("user", pm.variables.replaceIn("{{userPrefix}}-{{$guid}}"));
};

const newKey = () => {
  pm.collectionVariables.set("key", pm.variables.replaceIn("{{$guid}}"));
};

const granted = () => {
  pm.test("a lease was granted", () => {
    pm.response.to.have.status(200);
    const lease = pm.response.json();
    pm.expect(lease).to.include.all.keys(
      "token_id", "user_id", "token_value", "status", "activated_at",
      "lease_id", "user", "expires_at", "expires_in", "fence", "evicted",
    );
    pm.expect(lease.status).to.eql("active");
    pm.expect(lease.user).to.eql(pm.variables.get("user"));
    pm.expect(lease.user_id).to.eql(lease.user);
    for (const id of [lease.token_id, lease.lease_id]) {
      pm.expect(id).to.match(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    }
    for (const time of [lease.activated_at, lease.expires_at]) {
      pm.expect(time).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    }
    pm.expect(lease.expires_at > lease.activated_at).to.eql(true);
    pm.expect(lease.expires_in).to.be.above(0);
    pm.expect(lease.fence).to.be.at.least(1);
  });
};

const keepLease = () => {
  for (const name of ["token_id", "lease_id", "fence"]) {
    pm.collectionVariables.set(name, pm.response.json()[name]);
  }
};

const released = () => {
  pm.test("the lease was released", () => {
    pm.response.to.have.status(200);
    const answer = pm.response.json();
    pm.expect(answer.status).to.eql("released");
    pm.expect(answer.lease_id).to.eql(pm.variables.get("lease_id"));
    pm.expect(answer.token_id).to.eql(pm.variables.get("token_id"));
    pm.expect(answer.user).to.eql(pm.variables.get("user"));
    pm.expect(String(answer.fence)).to.eql(String(pm.variables.get("fence")));
    pm.expect(answer.ended_at > answer.started_at).to.eql(true);
  });
};

const tokenReleased = () => {
  pm.test("the token was released", () => {
    pm.response.to.have.status(200);
    const answer = { status: "released", token_id: pm.variables.get("token_id") };
    pm.expect(pm.response.json()).to.eql(answer);
  });
};

const list = (...statuses) =>
  filled(
    () => {
      pm.test("a list of tokens", () => {
        pm.response.to.have.status(200);
        pm.expect(pm.response.headers.get("Content-Type")).to.eql("application/json");
        pm.expect(pm.response.headers.get("Cache-Control")).to.eql("private, no-cache");
        pm.expect(pm.response.headers.get("ETag")).to.match(/^W\/".+"$/);
        const tokens = pm.response.json();
        pm.expect(tokens).to.be.an("array");
        for (const token of tokens) {
          pm.expect(token).to.include.all.keys(
            "id", "token", "status", "activated_at", "user_id", "inserted_at", "updated_at",
            "lease_id", "user", "expires_at", "fence",
          );
          pm.expect(token.status).to.be.oneOf(STATUSES);
          pm.expect(token.lease_id === null).to.eql(token.status === "available");
        }
      });
    },
    { STATUSES: statuses },
  );

const found = () => {
  pm.test("only the lease of this folder is found", () => {
    pm.response.to.have.status(200);
    pm.expect(pm.response.headers.get("Cache-Control")).to.eql("no-store");
    const { leases, next } = pm.response.json();
    pm.expect(next).to.eql(null);
    pm.expect(leases).to.have.lengthOf(1);
    pm.expect(leases[0]).to.include.all.keys(
      "lease_id", "token_id", "user", "user_id", "status", "started_at",
      "expires_at", "expires_in", "fence", "ended_at", "end_reason", "evicted_by",
    );
    pm.expect(leases[0].lease_id).to.eql(pm.variables.get("lease_id"));
    pm.expect(leases[0].token_id).to.eql(pm.variables.get("token_id"));
  });
};

const csv = () => {
  pm.test("a file with a row for the lease", () => {
    pm.response.to.have.status(200);
    pm.expect(pm.response.headers.get("Content-Type")).to.eql("text/csv; charset=utf-8");
    pm.expect(pm.response.headers.get("Content-Disposition")).to.eql('attachment; filename="leases.csv"');
    pm.expect(pm.response.headers.get("Cache-Control")).to.eql("no-store");
    const [head, row, rest] = pm.response.text().split("\r\n");
    pm.expect(head).to.eql(
      "lease_id,token_id,user,user_id,status,started_at,expires_at,fence,ended_at,end_reason,evicted_by",
    );
    pm.expect(row.split(",").slice(0, 3)).to.eql(
      ["lease_id", "token_id", "user"].map((name) => pm.variables.get(name)),
    );
    pm.expect(row.split(",").slice(9)).to.eql(["released", ""]);
    pm.expect(rest).to.eql("");
  });
};

const page = () => {
  pm.test("the page, with a strict policy", () => {
    pm.response.to.have.status(200);
    pm.expect(pm.response.headers.get("Content-Type")).to.eql("text/html; charset=utf-8");
    pm.expect(pm.response.headers.get("Content-Security-Policy")).to.include("default-src 'none'");
    pm.expect(pm.response.headers.get("X-Content-Type-Options")).to.eql("nosniff");
  });
};

const skipping = () => {
  const skip = (why) => {
    console.log(`Skipped: ${why}`);
    pm.execution.skipRequest();
  };
};

const tools = () => {
  const baseUrl = pm.variables.get("baseUrl");
  const withPool = (act) =>
    pm.sendRequest(`${baseUrl}/api/pool`, (error, answer) => {
      if (error) throw new Error(error);
      act(answer.json());
    });
  const allocate = (body, done) => {
    pm.sendRequest(
      {
        url: `${baseUrl}/api/tokens/allocate`,
        method: "POST",
        header: { "Content-Type": "application/json" },
        body: { mode: "raw", raw: JSON.stringify(body) },
      },
      (error, answer) => {
        if (error || answer.code !== 200) throw new Error(error || answer.text());
        done(answer.json());
      },
    );
  };
};

/** Takes all tokens of a pool with this policy; the first for `first` seconds. */
const fillPool = (policy, first = 30) => [
  skipping,
  tools,
  filled(
    () => {
      // Takes all tokens, with other users and for at most half a minute; the tests release them.
      const fill = (left, policy, leases) => {
        pm.collectionVariables.set("fillers", JSON.stringify(leases.map((lease) => lease.lease_id)));
        if (left === 0) return;
        const body = {
          user_id: `${pm.variables.get("user")}-${left}`,
          lease_seconds: Math.min(leases.length === 0 ? FIRST : 30, policy.lease_seconds),
        };
        allocate(body, (lease) => fill(left - 1, policy, [...leases, lease]));
      };
      pm.collectionVariables.set("fillers", "[]");
      withPool(({ size, active, policy }) => {
        if (policy.when_full !== POLICY) skip("the pool has another policy");
        else if (policy.min_hold_seconds > 0) skip("the pool has a min_hold_seconds");
        else if (active > 0) skip("the pool is in use");
        else if (size > Number(pm.variables.get("fillAtMost"))) skip("the pool is larger than fillAtMost");
        else fill(size, policy, []);
      });
    },
    { POLICY: policy, FIRST: first },
  ),
];

const releaseFillers = () => {
  // Releases the leases that filled the pool, and the granted one.
  const toRelease = JSON.parse(pm.variables.get("fillers"));
  if (pm.response.code === 200 && pm.response.json().lease_id) toRelease.push(pm.response.json().lease_id);
  for (const lease of toRelease) {
    const url = `${pm.variables.get("baseUrl")}/api/leases/${lease}/release`;
    pm.sendRequest({ url, method: "POST" }, (error, answer) => {
      // 409: it was evicted or has expired.
      pm.test("a lease of this request is over", () => {
        pm.expect(error).to.eql(null);
        pm.expect(answer.code).to.be.oneOf([200, 409]);
      });
    });
  }
};

const filling =
  "It needs a full pool, so it takes all tokens for a moment, and its tests release them. It is skipped if the pool has another policy, is in use, or has more than `fillAtMost` tokens.";

const needsTicket = () => {
  if (pm.variables.get("ticket") === "") {
    console.log("Skipped: no ticket was taken");
    pm.execution.skipRequest();
  }
};

const user = { user_id: "{{user}}" };
const key = { "Idempotency-Key": '"{{key}}"' };
const unknown = "00000000-0000-4000-8000-000000000000";
const releaseLease = {
  name: "Release the lease",
  operation: "releaseLease",
  path: "{{lease_id}}",
  about: "Releases the lease of this folder.",
  test: released,
};

/** Example values of parameters that are switched off. */
export const samples = {
  limit: "100",
  before: "{{fence}}",
  user: "{{user}}",
  token_id: "{{token_id}}",
  status: "running",
  end_reason: "released",
  from: "2026-01-01T00:00:00Z",
  to: "2100-01-01T00:00:00Z",
  at: "{{started_at}}",
  format: "json",
  last_event_id: "{{last_event_id}}",
  lease_seconds: "60",
  wait_seconds: "10",
};

export const folders = [
  {
    name: "Tokens",
    about:
      "Take, inspect and release tokens. Run the whole folder: its first request takes a token, and the later ones use the variables `token_id`, `lease_id` and `fence`.",
    requests: [
      {
        name: "Allocate a token",
        operation: "allocateToken",
        body: user,
        before: newUser,
        test: [
          granted,
          keepLease,
          () => {
            pm.test("evicted is null or a lease", () => {
              const { evicted } = pm.response.json();
              if (evicted !== null) {
                pm.expect(evicted).to.have.all.keys("lease_id", "user", "user_id", "fence", "started_at");
              }
            });
          },
        ],
      },
      {
        name: "List all tokens",
        operation: "listTokens",
        test: [
          list("available", "active"),
          () => {
            pm.collectionVariables.set("etag", pm.response.headers.get("ETag"));
            pm.test("the allocated token has its user", () => {
              const token = pm.response.json().find(({ id }) => id === pm.variables.get("token_id"));
              if (!token && pm.response.headers.has("Link")) return; // on another page
              pm.expect(token.status).to.eql("active");
              pm.expect(token.lease_id).to.eql(pm.variables.get("lease_id"));
              pm.expect(token.user).to.eql(pm.variables.get("user"));
              pm.expect(String(token.fence)).to.eql(String(pm.variables.get("fence")));
            });
          },
        ],
      },
      {
        name: "List all tokens if changed",
        operation: "listTokens",
        headers: { "If-None-Match": "{{etag}}" },
        about: "With an earlier `ETag` in `If-None-Match`, the response is an empty 304 until something changes.",
        test: () => {
          pm.test("nothing has changed", () => {
            pm.response.to.have.status(304);
            pm.expect(pm.response.text()).to.eql("");
            pm.expect(pm.response.headers.get("ETag")).to.eql(pm.variables.get("etag"));
          });
        },
      },
      {
        name: "List one page of tokens",
        operation: "listTokens",
        query: { limit: "1" },
        about: "One token; the `Link` header points to the next page, if any.",
        test: [
          list("available", "active"),
          () => {
            pm.test("one token, and a link to the next page", () => {
              pm.expect(pm.response.json()).to.have.lengthOf(1);
              const link = pm.response.headers.get("Link");
              if (link) pm.expect(link).to.match(/^<\/api\/tokens\?limit=1&after=\d+>; rel="next"$/);
            });
          },
        ],
      },
      {
        name: "List available tokens",
        operation: "listAvailableTokens",
        test: [
          list("available"),
          () => {
            pm.test("the allocated token is not in the list", () => {
              const ids = pm.response.json().map(({ id }) => id);
              pm.expect(ids).to.not.include(pm.variables.get("token_id"));
            });
          },
        ],
      },
      {
        name: "List active tokens",
        operation: "listActiveTokens",
        test: [
          list("active"),
          () => {
            pm.test("the allocated token is in the list", () => {
              if (pm.response.headers.has("Link")) return; // possibly on another page
              const ids = pm.response.json().map(({ id }) => id);
              pm.expect(ids).to.include(pm.variables.get("token_id"));
            });
          },
        ],
      },
      {
        name: "Show a token and its holder",
        operation: "getToken",
        path: "{{token_id}}",
        test: () => {
          pm.test("the token has its user", () => {
            pm.response.to.have.status(200);
            const { token, current_user: holder } = pm.response.json();
            pm.expect(token.id).to.eql(pm.variables.get("token_id"));
            pm.expect(token.status).to.eql("active");
            pm.expect(token.token).to.be.a("string").and.not.empty;
            pm.expect(holder).to.have.all.keys(
              "user_id", "activated_at", "lease_id", "user", "expires_at", "fence",
            );
            pm.expect(holder.lease_id).to.eql(pm.variables.get("lease_id"));
            pm.expect(holder.user).to.eql(pm.variables.get("user"));
            pm.expect(holder.user_id).to.match(/^[0-9a-f-]{36}$/);
          });
        },
      },
      {
        name: "Show a token's history",
        operation: "getTokenHistory",
        path: "{{token_id}}",
        test: () => {
          pm.test("the newest lease is running", () => {
            pm.response.to.have.status(200);
            const { token_id, history } = pm.response.json();
            pm.expect(token_id).to.eql(pm.variables.get("token_id"));
            const [newest] = history;
            pm.expect(newest).to.include.all.keys(
              "id", "token_id", "user_id", "started_at", "ended_at", "inserted_at", "updated_at",
              "lease_id", "user", "expires_at", "fence", "end_reason", "evicted_by",
            );
            pm.expect(newest.lease_id).to.eql(pm.variables.get("lease_id"));
            pm.expect(newest.ended_at).to.eql(null);
            pm.expect(newest.end_reason).to.eql(null);
          });
          pm.test("fences decrease", () => {
            const fences = pm.response.json().history.map(({ fence }) => fence);
            fences.slice(1).forEach((fence, row) => pm.expect(fence).to.be.below(fences[row]));
          });
        },
      },
      {
        name: "Release a token if it has this lease",
        operation: "releaseToken",
        path: "{{token_id}}",
        body: { lease_id: "{{lease_id}}" },
        about: "The condition `lease_id` protects later leases of the token: on a mismatch the response is 409 (see Errors).",
        test: tokenReleased,
      },
      {
        name: "Show an available token",
        operation: "getToken",
        path: "{{token_id}}",
        about: "`current_user` and the members about a lease are null.",
        test: () => {
          pm.test("the token has no holder", () => {
            pm.response.to.have.status(200);
            const { token, current_user: holder } = pm.response.json();
            pm.expect(token.status).to.eql("available");
            pm.expect(holder).to.eql(null);
            for (const member of ["activated_at", "user_id", "lease_id", "user", "expires_at", "fence"]) {
              pm.expect(token[member], member).to.eql(null);
            }
          });
        },
      },
      {
        name: "Allocate with a form",
        operation: "allocateToken",
        form: user,
        about: "The same as `application/x-www-form-urlencoded`, as a page or `curl -d user_id=ann` sends it.",
        before: [
          newUser,
          () => {
            pm.collectionVariables.set("fence_before", pm.variables.get("fence"));
          },
        ],
        test: [
          granted,
          keepLease,
          () => {
            pm.test("its fence is larger than the last one", () => {
              pm.expect(pm.response.json().fence).to.be.above(Number(pm.variables.get("fence_before")));
            });
          },
        ],
      },
      {
        name: "Release a token without a condition",
        operation: "releaseToken",
        path: "{{token_id}}",
        about: "Ends the token's current lease, even one that started a moment ago and belongs to another user. Prefer releasing the lease.",
        test: tokenReleased,
      },
      {
        name: "Release an available token",
        operation: "releaseToken",
        path: "{{token_id}}",
        about: "Idempotent: the response is the same.",
        test: tokenReleased,
      },
      {
        name: "Allocate with a key",
        operation: "allocateToken",
        body: user,
        headers: key,
        about: "With an `Idempotency-Key`, a client without a response can repeat the request. The server remembers the key for a day.",
        before: [newUser, newKey],
        test: [granted, keepLease],
      },
      {
        name: "Repeat an allocation with its key",
        operation: "allocateToken",
        body: user,
        headers: key,
        about: "The same request with the same key returns the same lease; no second token is taken.",
        test: [
          granted,
          () => {
            pm.test("it is the same lease", () => {
              pm.expect(pm.response.json().lease_id).to.eql(pm.variables.get("lease_id"));
            });
          },
        ],
      },
      {
        name: "Release a token if it has this user",
        operation: "releaseToken",
        path: "{{token_id}}",
        body: { if_user: "{{user}}" },
        about: "The condition `if_user` names the user as the allocation did.",
        test: tokenReleased,
      },
      {
        name: "Repeat an allocation after the end of its lease",
        operation: "allocateToken",
        body: user,
        headers: key,
        about: "A repeated request never takes a new token: `status` is `ended`, with the time and reason.",
        test: () => {
          pm.test("the lease is over, and none was granted", () => {
            pm.response.to.have.status(200);
            const lease = pm.response.json();
            pm.expect(lease.lease_id).to.eql(pm.variables.get("lease_id"));
            pm.expect(lease.status).to.eql("ended");
            pm.expect(lease.end_reason).to.eql("released");
            pm.expect(lease.ended_at).to.be.a("string");
            pm.expect(lease.expires_in).to.eql(0);
          });
        },
      },
      {
        name: "Allocate from a full pool, evicting the oldest lease",
        operation: "allocateToken",
        body: user,
        about: `With the policy \`evict-oldest\` the oldest lease ends and its token changes hands; \`evicted\` is the old lease.\n\n${filling}`,
        before: [newUser, ...fillPool("evict-oldest")],
        test: [
          granted,
          () => {
            pm.test("the oldest lease ended for it", () => {
              const [oldest] = JSON.parse(pm.variables.get("fillers"));
              const { evicted } = pm.response.json();
              pm.expect(evicted).to.have.all.keys("lease_id", "user", "user_id", "fence", "started_at");
              pm.expect(evicted.lease_id).to.eql(oldest);
              pm.expect(evicted.fence).to.be.below(pm.response.json().fence);
            });
          },
          releaseFillers,
        ],
      },
      {
        name: "Allocate from a full pool and wait",
        operation: "allocateToken",
        body: { ...user, wait_seconds: 10 },
        about: `With the policy \`wait\` the request waits for up to \`wait_seconds\`. Set the client's timeout 15 seconds higher.\n\n${filling} One of the tokens is taken for two seconds only.`,
        before: [newUser, ...fillPool("wait", 2)],
        test: [
          granted,
          () => {
            pm.test("no lease was evicted for it", () => {
              pm.expect(pm.response.json().evicted).to.eql(null);
            });
          },
          releaseFillers,
        ],
      },
    ],
  },
  {
    name: "Leases",
    about:
      "A lease is one user's hold on one token. Its id is permanent, so a late release never ends a later lease. Run the whole folder: its first request takes a token.",
    requests: [
      {
        name: "Allocate for a shorter time",
        operation: "allocateToken",
        // A number, so not in quotes.
        raw: '{\n  "user_id": "{{user}}",\n  "lease_seconds": {{half}}\n}',
        headers: { "Content-Type": "application/json" },
        about: "`lease_seconds` asks for less than the policy's length, here half of it. More gets 400.",
        before: [
          newUser,
          tools,
          () => {
            withPool(({ policy }) => pm.collectionVariables.set("half", policy.lease_seconds / 2));
          },
        ],
        test: [
          granted,
          keepLease,
          () => {
            pm.collectionVariables.set("expires_at", pm.response.json().expires_at);
            pm.test("it has the requested length", () => {
              const half = Number(pm.variables.get("half"));
              pm.expect(pm.response.json().expires_in).to.be.within(half / 2, half);
            });
          },
        ],
      },
      {
        name: "Show a running lease",
        operation: "getLease",
        path: "{{lease_id}}",
        test: () => {
          pm.test("the lease is running", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.headers.get("Cache-Control")).to.eql("no-store");
            const lease = pm.response.json();
            pm.expect(lease).to.include.all.keys(
              "lease_id", "token_id", "user", "user_id", "status", "started_at",
              "expires_at", "expires_in", "fence", "ended_at", "end_reason", "evicted_by", "current",
            );
            pm.expect(lease.lease_id).to.eql(pm.variables.get("lease_id"));
            pm.expect(lease.token_id).to.eql(pm.variables.get("token_id"));
            pm.expect(lease.status).to.eql("active");
            pm.expect(lease.expires_in).to.be.above(0);
            pm.expect([lease.ended_at, lease.end_reason, lease.current]).to.eql([null, null, null]);
          });
        },
      },
      {
        name: "Renew a lease",
        operation: "renewLease",
        path: "{{lease_id}}",
        test: () => {
          pm.test("its deadline is later", () => {
            pm.response.to.have.status(200);
            const lease = pm.response.json();
            pm.expect(lease).to.include.all.keys(
              "lease_id", "token_id", "user", "user_id", "status", "started_at",
              "expires_at", "expires_in", "fence", "ended_at", "end_reason", "evicted_by",
            );
            pm.expect(lease.lease_id).to.eql(pm.variables.get("lease_id"));
            pm.expect(lease.status).to.eql("active");
            pm.expect(lease.expires_at > pm.variables.get("expires_at")).to.eql(true);
            pm.expect(String(lease.fence)).to.eql(String(pm.variables.get("fence")));
          });
        },
      },
      {
        name: "Release a lease",
        operation: "releaseLease",
        path: "{{lease_id}}",
        test: [
          released,
          () => {
            pm.collectionVariables.set("ended_at", pm.response.json().ended_at);
          },
        ],
      },
      {
        name: "Release a lease again",
        operation: "releaseLease",
        path: "{{lease_id}}",
        about: "Idempotent: the response is the same. A lease that ended for another reason gets 409 `lease-over` (see Errors).",
        test: [
          released,
          () => {
            pm.test("it ended at the first release", () => {
              pm.expect(pm.response.json().ended_at).to.eql(pm.variables.get("ended_at"));
            });
          },
        ],
      },
      {
        name: "Show an ended lease",
        operation: "getLease",
        path: "{{lease_id}}",
        about: "`ended_at` and `end_reason`; `current` is the token's lease now, or null.",
        test: () => {
          pm.test("the lease was released", () => {
            pm.response.to.have.status(200);
            const lease = pm.response.json();
            pm.expect(lease.status).to.eql("ended");
            pm.expect(lease.end_reason).to.eql("released");
            pm.expect(lease.ended_at).to.eql(pm.variables.get("ended_at"));
            pm.expect(lease.expires_in).to.eql(0);
            pm.expect(lease.evicted_by).to.eql(null);
          });
        },
      },
    ],
  },
  {
    name: "Queue",
    about:
      "An allocation with an `Idempotency-Key` gets a ticket and keeps its place between requests. Run the whole folder: its first request takes a ticket. With another policy than `wait`, most of it is skipped.",
    requests: [
      {
        name: "Wait with a ticket",
        operation: "allocateToken",
        body: { ...user, wait_seconds: 600 },
        headers: { ...key, Prefer: "wait=0" },
        about: `With a key, a request may wait for up to a day. The server holds it for the time in \`Prefer\`, then answers 202 with its position. Repeat it within 15 seconds to keep the place.\n\n${filling} "Give up a ticket" releases them.`,
        before: [
          newUser,
          newKey,
          () => {
            pm.collectionVariables.set("ticket", "");
          },
          ...fillPool("wait"),
        ],
        test: () => {
          pm.test("the request has a place in the queue", () => {
            pm.response.to.have.status(202);
            const ticket = pm.response.json();
            pm.expect(ticket.status).to.eql("waiting");
            pm.expect(ticket.position).to.eql(1);
            pm.expect(ticket.ahead).to.eql(0);
            pm.expect(ticket.until > ticket.since).to.eql(true);
            pm.expect(pm.response.headers.get("Location")).to.eql(`/api/queue/${ticket.ticket}`);
            pm.expect(Number(pm.response.headers.get("Retry-After"))).to.be.at.least(1);
          });
          if (pm.response.code === 202) pm.collectionVariables.set("ticket", pm.response.json().ticket);
        },
      },
      {
        name: "List the queue",
        operation: "listQueue",
        test: () => {
          pm.test("the queue in order of arrival", () => {
            pm.response.to.have.status(200);
            const queue = pm.response.json();
            pm.expect(queue.waiting).to.be.at.least(queue.tickets.length);
            queue.tickets.forEach((ticket, at) => pm.expect(ticket.position).to.eql(at + 1));
          });
        },
      },
      {
        name: "Show a ticket",
        operation: "getTicket",
        path: "{{ticket}}",
        about: "One queue entry. Skipped without a ticket.",
        before: needsTicket,
        test: () => {
          pm.test("the place in the queue", () => {
            pm.response.to.have.status(200);
            const ticket = pm.response.json();
            pm.expect(ticket.ticket).to.eql(pm.variables.get("ticket"));
            pm.expect(ticket.user).to.eql(pm.variables.get("user"));
            pm.expect(ticket.position).to.eql(1);
            pm.expect(ticket.kept).to.eql(true);
          });
        },
      },
      {
        name: "Give up a ticket",
        operation: "giveUpTicket",
        path: "{{ticket}}",
        about: "Leaves the queue. Requests held for the ticket get 409 `ticket-given-up`. Skipped without a ticket.",
        before: needsTicket,
        test: [
          () => {
            pm.test("the place was given up", () => {
              pm.response.to.have.status(200);
              pm.expect(pm.response.json()).to.eql({ status: "given_up", ticket: pm.variables.get("ticket") });
            });
          },
          releaseFillers,
        ],
      },
    ],
  },
  {
    name: "Search and export",
    about:
      "The history of every use, by user, token, status, reason and time. Run the whole folder: its first request takes a token, which the others find.",
    requests: [
      {
        name: "Take a token to find",
        operation: "allocateToken",
        body: user,
        about: "Takes a token for a unique user.",
        before: newUser,
        test: [
          granted,
          keepLease,
          () => {
            pm.collectionVariables.set("started_at", pm.response.json().activated_at);
          },
        ],
      },
      {
        name: "Search a user's leases",
        operation: "searchLeases",
        query: { user: "{{user}}" },
        test: [
          found,
          () => {
            pm.test("it belongs to the user", () => {
              pm.expect(pm.response.json().leases[0].user).to.eql(pm.variables.get("user"));
            });
          },
        ],
      },
      {
        name: "Search the running lease of a token",
        operation: "searchLeases",
        query: { token_id: "{{token_id}}", status: "running" },
        about: "`status=running` selects running leases, whose `status` in responses is `active`.",
        test: [
          found,
          () => {
            pm.test("it is running", () => {
              const [lease] = pm.response.json().leases;
              pm.expect([lease.status, lease.end_reason]).to.eql(["active", null]);
            });
          },
        ],
      },
      {
        name: "Search the holder of a token at a time",
        operation: "searchLeases",
        query: { token_id: "{{token_id}}", at: "{{started_at}}" },
        about: "`at` selects leases that were running at that time; without `token_id`, in the whole pool. Write `+` in a time as `%2B`.",
        test: [
          found,
          () => {
            pm.test("it started at that time", () => {
              pm.expect(pm.response.json().leases[0].started_at).to.eql(pm.variables.get("started_at"));
            });
          },
        ],
      },
      {
        name: "Search a page",
        operation: "searchLeases",
        query: { limit: "1" },
        about: "`next` and the `Link` header point to the next page. A page may have fewer leases than `limit`, even none: follow `next` until it is null.",
        test: () => {
          pm.test("at most one lease, and the next page", () => {
            pm.response.to.have.status(200);
            const { leases, next } = pm.response.json();
            pm.expect(leases).to.have.lengthOf.at.most(1);
            if (next === null) {
              pm.expect(pm.response.headers.has("Link")).to.eql(false);
            } else {
              pm.expect(next).to.match(/^\/api\/leases\?limit=1&after=[\d.]+$/);
              pm.expect(pm.response.headers.get("Link")).to.eql(`<${next}>; rel="next"`);
            }
          });
          pm.collectionVariables.set("next", pm.response.json().next || "");
        },
      },
      {
        name: "Search the next page",
        method: "GET",
        target: "{{next}}",
        about: "The path in `next`, with all parameters. New leases don't shift pages. Skipped after the last page.",
        before: () => {
          if (!pm.variables.get("next")) {
            console.log("Skipped: the page before was the last");
            pm.execution.skipRequest();
          }
        },
        test: () => {
          pm.test("older leases", () => {
            pm.response.to.have.status(200);
            const { leases, next } = pm.response.json();
            pm.expect(leases).to.have.lengthOf.at.most(1);
            if (leases.length > 0) pm.expect(leases[0].lease_id).to.not.eql(pm.variables.get("lease_id"));
            pm.expect(next === null || next.startsWith("/api/leases?limit=1&after=")).to.eql(true);
          });
        },
      },
      releaseLease,
      {
        name: "Search released leases of a period",
        operation: "searchLeases",
        query: {
          user: "{{user}}",
          status: "ended",
          end_reason: "released",
          from: "{{started_at}}",
          to: "2100-01-01T00:00:00Z",
        },
        about: "Released leases that started at `from` or later and before `to`.",
        test: [
          found,
          () => {
            pm.test("it was released", () => {
              const [lease] = pm.response.json().leases;
              pm.expect([lease.status, lease.end_reason]).to.eql(["ended", "released"]);
              pm.expect(lease.ended_at).to.be.a("string");
            });
          },
        ],
      },
      {
        name: "Export as CSV",
        operation: "exportLeases",
        query: { user: "{{user}}" },
        test: csv,
      },
      {
        name: "Export with Accept",
        operation: "searchLeases",
        query: { user: "{{user}}" },
        headers: { Accept: "text/csv" },
        about: "The same for clients that prefer `text/csv`.",
        test: csv,
      },
    ],
  },
  {
    name: "Pool",
    about: "Usage of the pool, and its policy.",
    requests: [
      {
        name: "Show the pool",
        operation: "getPool",
        test: () => {
          pm.test("the pool and its policy", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.headers.get("Cache-Control")).to.eql("no-store");
            const pool = pm.response.json();
            pm.expect(pool).to.include.all.keys(
              "size", "active", "available", "waiting", "oldest_lease", "epoch", "version", "policy",
            );
            pm.expect(pool.active + pool.available).to.eql(pool.size);
            pm.expect(pool.waiting).to.be.at.least(0);
            pm.expect(pool.oldest_lease === null).to.eql(pool.active === 0);
            pm.expect(pool.policy).to.include.all.keys(
              "when_full", "lease_seconds", "max_lease_seconds", "min_hold_seconds", "max_per_user",
            );
            pm.expect(pool.policy.when_full).to.be.oneOf(["evict-oldest", "reject", "wait"]);
            pm.expect(pool.policy.max_lease_seconds).to.be.at.least(pool.policy.lease_seconds);
          });
        },
      },
    ],
  },
  {
    name: "Events",
    about:
      'The stream of events never ends, so runners such as newman would wait forever. Here they test its head and its errors; "Follow a token" is skipped unless the variable `followEvents` is `true`.',
    requests: [
      {
        name: "Read the position of the journal",
        operation: "getPool",
        about: "`EPOCH-VERSION` is an event id: a stream that resumes after it gets everything from here on. The variable `last_event_id` keeps it.",
        test: () => {
          pm.test("epoch and version are an event id", () => {
            pm.response.to.have.status(200);
            const { epoch, version } = pm.response.json();
            pm.expect(`${epoch}-${version}`).to.match(/^\d+-\d+$/);
            pm.collectionVariables.set("last_event_id", `${epoch}-${version}`);
          });
        },
      },
      {
        name: "Take a token to follow",
        operation: "allocateToken",
        body: user,
        about: "Takes a token, which makes the event `lease.started`.",
        before: newUser,
        test: [granted, keepLease],
      },
      releaseLease,
      {
        name: "The head of the stream",
        operation: "followEvents",
        method: "HEAD",
        query: { token_id: "{{token_id}}" },
        about: "`HEAD` returns the headers of a stream. `no-store` and `X-Accel-Buffering: no` keep proxies from buffering.",
        test: () => {
          pm.test("a stream of server-sent events", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.headers.get("Content-Type")).to.eql("text/event-stream");
            pm.expect(pm.response.headers.get("Cache-Control")).to.eql("no-store");
            pm.expect(pm.response.headers.get("X-Accel-Buffering")).to.eql("no");
          });
        },
      },
      {
        name: "Follow a token",
        operation: "followEvents",
        query: { token_id: "{{token_id}}", last_event_id: "{{last_event_id}}" },
        about:
          'All events of the token after `last_event_id`, then new ones.\n\n**It never ends.** Set the variable `followEvents` to `true` and send it: Postman shows the events as they come, until "Cancel". Meanwhile send "Take a token to follow" and "Release the lease" from another tab. Otherwise it is skipped; runners always have to skip it. The example is the beginning of a real stream.\n\nA client that reconnects sends the last id in the header `Last-Event-ID`; a browser\'s `EventSource` does so on its own.',
        before: () => {
          if (String(pm.variables.get("followEvents")) !== "true") {
            console.log("Skipped: the stream never ends; followEvents is not true");
            pm.execution.skipRequest();
          }
        },
        test: () => {
          pm.test("a stream of server-sent events", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.headers.get("Content-Type")).to.eql("text/event-stream");
          });
        },
      },
      {
        name: "Follow with an unknown parameter",
        code: "invalid-parameter",
        operation: "followEvents",
        query: { usr: "{{user}}" },
        about: "So a typo never returns all events.",
        test: () => {
          pm.test("the error lists the known parameters", () => {
            pm.expect(pm.response.json().detail).to.include("last_event_id");
          });
        },
      },
      {
        name: "Resume after an invalid id",
        code: "invalid-parameter",
        operation: "followEvents",
        headers: { "Last-Event-ID": "yesterday" },
        about: "An id is `EPOCH-VERSION-INDEX` or `EPOCH-VERSION`, as in events.",
      },
      {
        name: "Follow an unknown token",
        code: "unknown-token",
        operation: "followEvents",
        query: { token_id: unknown },
      },
    ],
  },
  {
    name: "Health",
    about: "Probes and metrics.",
    requests: [
      {
        name: "Liveness",
        operation: "getLiveness",
        test: () => {
          pm.test("the process runs", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.json().status).to.eql("live");
          });
        },
      },
      {
        name: "Readiness",
        operation: "getReadiness",
        test: () => {
          pm.test("the server is ready", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.json().status).to.eql("ready");
          });
        },
      },
      {
        name: "Metrics",
        operation: "getMetrics",
        test: () => {
          pm.test("metrics in Prometheus' text format", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.headers.get("Content-Type")).to.eql("text/plain; version=0.0.4; charset=utf-8");
            pm.expect(pm.response.headers.get("Cache-Control")).to.eql("no-store");
            pm.expect(pm.response.text()).to.match(/^# TYPE token_manager_\w+ (?:counter|gauge|histogram)$/m);
            pm.expect(pm.response.text()).to.match(/^token_manager_tokens{pool="default"} [1-9]\d*$/m);
            pm.expect(pm.response.text()).to.include("\ntoken_manager_database_up 1\n");
          });
        },
      },
      {
        name: "Send a request id",
        operation: "getLiveness",
        headers: { "X-Request-Id": "postman-{{request_name}}" },
        about: "Every response and its line in the log have an `X-Request-Id`: yours, or a new one.",
        before: () => {
          pm.collectionVariables.set("request_name", pm.variables.replaceIn("{{$guid}}"));
        },
        test: () => {
          pm.test("the response has the request's id", () => {
            pm.response.to.have.status(200);
            const name = `postman-${pm.variables.get("request_name")}`;
            pm.expect(pm.response.headers.get("X-Request-Id")).to.eql(name);
          });
        },
      },
    ],
  },
  {
    name: "Errors",
    about:
      "Every error is a problem document (RFC 9457). Programs use `code`; `detail` is for people. Run the whole folder: its first request takes a token.",
    requests: [
      {
        name: "Take a token to misuse",
        operation: "allocateToken",
        body: user,
        headers: key,
        about: "Takes a token with a key, which the requests below misuse.",
        before: [newUser, newKey],
        test: [granted, keepLease],
      },
      {
        code: "invalid-body",
        operation: "allocateToken",
        raw: '{"user_id": ',
        headers: { "Content-Type": "application/json" },
      },
      { code: "invalid-user", operation: "allocateToken", body: {} },
      {
        code: "unauthenticated",
        operation: "listTokens",
        token: "tm_wrong",
        about: "A wrong key is refused, even where callers without a key are permitted.",
        test: () => {
          pm.test("the response says how to authenticate", () => {
            const ways = pm.response.headers.filter(({ key }) => /^www-authenticate$/i.test(key));
            pm.expect(ways.map(({ value }) => value).join()).to.include("Bearer realm");
          });
        },
      },
      { code: "invalid-id", operation: "getToken", path: "first" },
      {
        name: "invalid-parameter, in a body",
        code: "invalid-parameter",
        operation: "allocateToken",
        body: { ...user, lease_seconds: 31536000 },
        about: "A year is longer than a lease may last.",
        test: () => {
          pm.test("the error has the allowed range", () => {
            pm.expect(pm.response.json().detail).to.match(/^lease_seconds must be a number from 0\.001 to /);
          });
        },
      },
      {
        name: "invalid-parameter, in a query",
        code: "invalid-parameter",
        operation: "searchLeases",
        query: { usr: "{{user}}" },
        about: "`usr` is unknown.",
        test: () => {
          pm.test("the error names the parameter", () => {
            pm.expect(pm.response.json().detail).to.include('"usr"');
          });
        },
      },
      {
        code: "invalid-idempotency-key",
        operation: "allocateToken",
        body: user,
        headers: { "Idempotency-Key": '"unfinished' },
        about: "This key has no closing quote.",
      },
      {
        code: "idempotency-key-reused",
        operation: "allocateToken",
        body: { ...user, lease_seconds: 7 },
        headers: key,
      },
      {
        code: "cross-origin",
        operation: "allocateToken",
        body: user,
        headers: { "Sec-Fetch-Site": "cross-site" },
        about: "Postman's web version may refuse to send this header; its desktop version and newman send it.",
      },
      { code: "unknown-path", method: "GET", target: "/api/token" },
      { code: "unknown-token", operation: "getToken", path: unknown },
      { code: "unknown-lease", operation: "getLease", path: unknown },
      { code: "unknown-ticket", operation: "getTicket", path: unknown },
      {
        code: "wrong-method",
        method: "PUT",
        target: "/api/tokens",
        test: () => {
          pm.test("the allowed methods are named", () => {
            pm.expect(pm.response.headers.get("Allow").split(/, */)).to.include("GET");
          });
        },
      },
      {
        code: "holder-mismatch",
        operation: "releaseToken",
        path: "{{token_id}}",
        body: { if_user: "not {{user}}" },
        test: () => {
          pm.test("current is the token's lease", () => {
            const { current } = pm.response.json();
            pm.expect(current).to.have.all.keys(
              "lease_id", "user", "user_id", "fence", "started_at", "expires_at",
            );
            pm.expect(current.lease_id).to.eql(pm.variables.get("lease_id"));
            pm.expect(current.user).to.eql(pm.variables.get("user"));
          });
        },
      },
      {
        code: "ticket-served",
        operation: "giveUpTicket",
        path: "{{lease_id}}",
        test: () => {
          pm.test("it names the lease", () => {
            pm.expect(pm.response.json().lease_id).to.eql(pm.variables.get("lease_id"));
          });
        },
      },
      {
        code: "renewal-limit",
        operation: "renewLease",
        path: "{{lease_id}}",
        about: "Skipped if the policy allows renewal, since it would take too long.",
        before: [
          skipping,
          tools,
          () => {
            withPool(({ policy }) => {
              if (policy.max_lease_seconds > policy.lease_seconds) skip("the policy allows renewal");
            });
          },
        ],
        test: () => {
          pm.test("it has the deadline", () => {
            pm.expect(pm.response.json().expires_at).to.match(/Z$/);
          });
        },
      },
      {
        code: "body-too-large",
        operation: "allocateToken",
        body: { user_id: "{{large}}" },
        before: () => {
          pm.variables.set("large", "x".repeat(64 * 1024));
        },
      },
      {
        code: "unsupported-content-type",
        operation: "allocateToken",
        raw: '{"user_id": "{{user}}"}',
        headers: { "Content-Type": "text/plain" },
      },
      {
        code: "host-not-allowed",
        operation: "getPool",
        headers: { Host: "tokens.example" },
        about: "A server on other addresses than loopback may accept any name. Set the variable `onLoopback` to `false` for it, and this request is skipped.",
        before: () => {
          if (String(pm.variables.get("onLoopback")) !== "true") {
            console.log("Skipped: the server does not listen on loopback only");
            pm.execution.skipRequest();
          }
        },
      },
      {
        name: "An error as application/problem+json",
        code: "unknown-token",
        operation: "getToken",
        path: unknown,
        headers: { Accept: "application/problem+json" },
        about: "Clients that accept `application/problem+json` get errors with that type.",
        test: () => {
          pm.test("the type is application/problem+json", () => {
            pm.expect(pm.response.headers.get("Content-Type")).to.eql("application/problem+json");
          });
        },
      },
      releaseLease,
      {
        name: "lease-over, on renewal",
        code: "lease-over",
        operation: "renewLease",
        path: "{{lease_id}}",
        test: () => {
          pm.test("it was released", () => {
            const problem = pm.response.json();
            pm.expect(problem).to.include.all.keys("ended_at", "end_reason", "evicted_by");
            pm.expect(problem.end_reason).to.eql("released");
          });
        },
      },
      {
        name: "lease-over, on release",
        code: "lease-over",
        operation: "releaseLease",
        path: "{{lease_id}}",
        about: "This lease of a millisecond expired before its release.",
        before: [
          newUser,
          tools,
          () => {
            allocate({ user_id: pm.variables.get("user"), lease_seconds: 0.001 }, (lease) => {
              pm.collectionVariables.set("lease_id", lease.lease_id);
              setTimeout(() => {}, 20);
            });
          },
        ],
        test: () => {
          pm.test("it expired", () => {
            pm.expect(pm.response.json().end_reason).to.eql("expired");
          });
        },
      },
      {
        code: "user-limit",
        operation: "allocateToken",
        body: user,
        about: "It takes leases up to the limit first, and its tests release them. Skipped without a limit, and if the limit is above the number of free tokens or `fillAtMost`.",
        before: [
          newUser,
          skipping,
          tools,
          () => {
            const takeAll = (left, leases) => {
              pm.collectionVariables.set("fillers", JSON.stringify(leases));
              if (left === 0) return;
              const body = { user_id: pm.variables.get("user") };
              allocate(body, (lease) => takeAll(left - 1, [...leases, lease.lease_id]));
            };
            withPool(({ available, policy: { max_per_user: limit } }) => {
              if (limit === null) skip("the policy has no limit per user");
              else if (limit > available) skip("the pool has too few free tokens");
              else if (limit > Number(pm.variables.get("fillAtMost"))) skip("the limit is above fillAtMost");
              else takeAll(limit, []);
            });
          },
        ],
        test: [
          () => {
            pm.test("it has the limit", () => {
              pm.expect(pm.response.json().max_per_user).to.be.at.least(1);
            });
          },
          releaseFillers,
        ],
      },
      {
        name: "pool-full, at once",
        code: "pool-full",
        operation: "allocateToken",
        body: user,
        about: `With the policy \`reject\`, \`Retry-After\` is the time to the next deadline.\n\n${filling}`,
        before: [newUser, ...fillPool("reject")],
        test: releaseFillers,
      },
      {
        name: "pool-full, after waiting",
        code: "pool-full",
        operation: "allocateToken",
        body: { ...user, wait_seconds: 0.2 },
        about: `With the policy \`wait\`, after \`wait_seconds\`; \`position\` counts from 1.\n\n${filling}`,
        before: [newUser, ...fillPool("wait")],
        test: [
          () => {
            pm.test("it has the position", () => {
              pm.expect(pm.response.json().position).to.eql(1);
            });
          },
          releaseFillers,
        ],
      },
    ],
  },
  {
    name: "Dashboard",
    about: "Pages for browsers.",
    requests: [
      {
        name: "The dashboard",
        method: "GET",
        target: "/",
        about: "The page. Its files have new names in each version, so this request keeps the name of one.",
        test: [
          page,
          () => {
            pm.test("it is the dashboard", () => {
              pm.expect(pm.response.text()).to.include("<title>TokenManager</title>");
            });
            const asset = /["'](\/assets\/[^"']+\.css)["']/.exec(pm.response.text());
            pm.collectionVariables.set("asset", asset ? asset[1] : "");
          },
        ],
      },
      {
        name: "The dashboard of all pools",
        method: "GET",
        target: "/pools",
        about: "The page of all pools, also while there is only one.",
        test: [
          page,
          () => {
            pm.test("it is the dashboard", () => {
              pm.expect(pm.response.text()).to.include("<title>TokenManager</title>");
            });
          },
        ],
      },
      {
        name: "The dashboard of a pool",
        method: "GET",
        target: "/pools/default",
        about: "The page of one pool, also of one that does not exist: the page then says so.",
        test: [
          page,
          () => {
            pm.test("it is the dashboard", () => {
              pm.expect(pm.response.text()).to.include("<title>TokenManager</title>");
            });
          },
        ],
      },
      {
        name: "A file of the dashboard",
        method: "GET",
        target: "{{asset}}",
        about: "Browsers may keep it forever: another version has another name.",
        test: () => {
          pm.test("a cacheable style sheet", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.headers.get("Content-Type")).to.eql("text/css; charset=utf-8");
            pm.expect(pm.response.headers.get("Cache-Control")).to.include("immutable");
          });
        },
      },
      {
        name: "An unknown file",
        code: "unknown-path",
        method: "GET",
        target: "/assets/nothing.js",
      },
      {
        name: "OpenAPI document",
        operation: "getOpenapi",
        test: () => {
          pm.test("an OpenAPI document", () => {
            pm.response.to.have.status(200);
            const document = pm.response.json();
            pm.expect(document.openapi).to.match(/^3\.1\./);
            pm.expect(document.paths["/api/tokens/allocate"].post.operationId).to.eql("allocateToken");
          });
          pm.test("caches must revalidate it", () => {
            pm.expect(pm.response.headers.get("ETag")).to.match(/^W\/"/);
            pm.expect(pm.response.headers.get("Cache-Control")).to.eql("no-cache");
          });
        },
      },
      {
        name: "OpenAPI page",
        method: "GET",
        target: "/docs",
        about: "The same as a page that can send requests. It loads nothing from other sites.",
        test: [
          page,
          () => {
            pm.test("it is the reference", () => {
              pm.expect(pm.response.text()).to.include("/docs/swagger-ui-bundle.js");
            });
          },
        ],
      },
    ],
  },
  {
    name: "Pools",
    about:
      "A pool of its own with two tokens: created by a document, used, changed and deleted. Values of its tokens are in responses to allocations only.",
    requests: [
      {
        name: "Create a pool",
        operation: "putPool",
        path: "{{pool}}",
        before: () => {
          pm.collectionVariables.set("pool", pm.variables.replaceIn("postman-{{$guid}}"));
        },
        headers: { "If-None-Match": "*" },
        body: {
          description: "Staging environments",
          when_full: "reject",
          lease: "30m",
          tokens: [
            { name: "staging-1", value: "https://staging-1.example.com", labels: { region: "eu" } },
            { name: "staging-2", value: "https://staging-2.example.com" },
          ],
        },
        test: () => {
          pm.test("the pool and its tokens were created", () => {
            pm.response.to.have.status(200);
            const { dry_run, changes } = pm.response.json();
            pm.expect(dry_run).to.eql(false);
            const kinds = changes.map((change) => change.kind);
            pm.expect(kinds).to.eql(["pool.created", "token.added", "token.added"]);
          });
        },
      },
      {
        name: "Create it again",
        operation: "putPool",
        path: "{{pool}}",
        code: "precondition-failed",
        headers: { "If-None-Match": "*" },
        body: {},
      },
      {
        name: "A mistake",
        operation: "putPool",
        path: "{{pool}}",
        code: "plan-refused",
        body: { tokens: [{ name: "a b" }] },
        test: () => {
          pm.test("it tells the place of the mistake", () => {
            const { findings } = pm.response.json();
            pm.expect(findings[0]).to.include({ token: "number 1", field: "name" });
          });
        },
      },
      {
        name: "Get a pool",
        operation: "getPoolByName",
        path: "{{pool}}",
        test: () => {
          pm.test("the pool", () => {
            pm.response.to.have.status(200);
            const pool = pm.response.json();
            pm.expect(pool).to.include({ name: pm.variables.get("pool"), size: 2, active: 0, available: 2 });
            pm.expect(pool.policy).to.include({ when_full: "reject", lease_seconds: 1800, show_values: "holder" });
            pm.expect(pm.response.headers.get("ETag")).to.match(/^"[0-9a-f]{16}"$/);
          });
        },
      },
      {
        name: "List pools",
        operation: "listPools",
        query: { limit: "1" },
        test: () => {
          pm.test("a page of pools", () => {
            pm.response.to.have.status(200);
            const { pools, next } = pm.response.json();
            pm.expect(pools).to.have.lengthOf(1);
            pm.expect(next).to.match(/^\/api\/pools\?limit=1&after=/);
          });
        },
      },
      {
        name: "Preview a document",
        operation: "applyPools",
        query: { dry_run: "true" },
        body: { pools: { "{{pool}}": { tokens: [{ name: "staging-3" }] } } },
        test: () => {
          pm.test("nothing was changed", () => {
            pm.response.to.have.status(200);
            const { dry_run, changes } = pm.response.json();
            pm.expect(dry_run).to.eql(true);
            pm.expect(changes.map((change) => change.token)).to.eql(["staging-3"]);
          });
        },
      },
      {
        name: "Allocate a token of a pool",
        operation: "allocateFromPool",
        path: "{{pool}}",
        before: newUser,
        body: { user: "{{user}}", token: "staging-1", note: "PR 1234" },
        test: [
          () => {
            pm.test("the token was granted", () => {
              pm.response.to.have.status(200);
              const lease = pm.response.json();
              pm.expect(lease.token_value).to.eql("https://staging-1.example.com");
              pm.expect(lease).to.include({ pool: pm.variables.get("pool"), token_name: "staging-1", note: "PR 1234" });
              pm.expect(lease.labels).to.eql({ region: "eu" });
            });
          },
          keepLease,
        ],
      },
      {
        name: "A pool in use",
        operation: "deletePool",
        path: "{{pool}}",
        code: "pool-in-use",
      },
      {
        name: "List the tokens of a pool",
        operation: "listPoolTokens",
        path: "{{pool}}",
        test: () => {
          pm.test("the tokens without their values", () => {
            pm.response.to.have.status(200);
            const { tokens, next } = pm.response.json();
            pm.expect(next).to.eql(null);
            pm.expect(tokens.map((token) => token.status)).to.eql(["active", "available"]);
            pm.expect(pm.response.text()).to.not.include("https://");
          });
        },
      },
      {
        name: "Set a taint",
        operation: "setTaint",
        path: ["{{pool}}", "staging-1"],
        body: { name: "upgrade", effect: "end-lease", reason: "new version" },
        test: () => {
          pm.test("the lease has ended", () => {
            pm.response.to.have.status(200);
            const { token, ended_lease_id } = pm.response.json();
            pm.expect(ended_lease_id).to.eql(pm.variables.get("lease_id"));
            pm.expect(token.status).to.eql("tainted");
          });
        },
      },
      {
        name: "Get a token of a pool",
        operation: "getPoolToken",
        path: ["{{pool}}", "staging-1"],
        test: () => {
          pm.test("the token has the taint", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.json().taints[0]).to.include({ name: "upgrade", effect: "end-lease" });
          });
        },
      },
      {
        name: "Remove a taint",
        operation: "removeTaint",
        path: ["{{pool}}", "staging-1", "upgrade"],
        test: () => {
          pm.test("the token is available", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.json().status).to.eql("available");
          });
        },
      },
      {
        name: "Add a token",
        operation: "addPoolToken",
        path: "{{pool}}",
        body: { name: "staging-3" },
        test: () => {
          pm.test("the token was added", () => {
            pm.response.to.have.status(201);
            pm.expect(pm.response.json()).to.include({ name: "staging-3", number: 3 });
          });
        },
      },
      {
        name: "A name twice",
        operation: "addPoolToken",
        path: "{{pool}}",
        code: "name-taken",
        body: { name: "staging-3" },
      },
      {
        name: "Change a token",
        operation: "changePoolToken",
        path: ["{{pool}}", "staging-3"],
        body: { labels: { region: "us" } },
        test: () => {
          pm.test("the token was changed", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.json().labels).to.eql({ region: "us" });
          });
        },
      },
      {
        name: "Change a fixed pool",
        operation: "addPoolToken",
        path: "default",
        code: "pool-fixed",
        body: {},
      },
      {
        name: "Retire a token",
        operation: "retirePoolToken",
        path: ["{{pool}}", "staging-3"],
        test: () => {
          pm.test("the token was retired", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.json().changes[0].kind).to.eql("token.retired");
          });
        },
      },
      {
        name: "Prune tokens",
        operation: "putPoolTokens",
        path: "{{pool}}",
        query: { prune: "true" },
        body: { tokens: [{ name: "staging-1" }] },
        test: () => {
          pm.test("the other token was retired", () => {
            pm.response.to.have.status(200);
            const { changes } = pm.response.json();
            pm.expect(changes.map((change) => change.token)).to.eql(["staging-2"]);
          });
        },
      },
      {
        name: "End all leases of a pool",
        operation: "clearPool",
        path: "{{pool}}",
        test: () => {
          pm.test("no lease runs", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.json().leases_ended).to.eql(0);
          });
        },
      },
      {
        name: "Delete a pool",
        operation: "deletePool",
        path: "{{pool}}",
        test: () => {
          pm.test("the pool was deleted", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.json().changes[0].kind).to.eql("pool.deleted");
          });
        },
      },
      {
        name: "A pool that is gone",
        operation: "getPoolByName",
        path: "{{pool}}",
        code: "unknown-pool",
      },
    ],
  },
  {
    name: "API keys",
    about:
      "Keys, the caller's session, and the audit log. Skipped unless `apiKey` is an administrator's key: the first key of a server on loopback would close it to callers without one. Revokes the key that it creates.",
    requests: [
      {
        name: "Create a key",
        operation: "createKey",
        needsKey: true,
        before: () => {
          pm.collectionVariables.set("key_name", pm.variables.replaceIn("{{userPrefix}}-{{$guid}}"));
        },
        body: {
          name: "{{key_name}}",
          rights: "use",
          pools: ["default"],
          users: ["{{userPrefix}}-*"],
          expires_in_seconds: 3600,
          max_leases: 5,
        },
        test: () => {
          pm.test("the key is shown, this time only", () => {
            pm.response.to.have.status(201);
            const key = pm.response.json();
            pm.expect(key).to.include({ name: pm.variables.get("key_name"), rights: "use", max_leases: 5 });
            pm.expect(key.secret).to.match(/^tm_/);
            pm.collectionVariables.set("key_id", key.id);
            pm.collectionVariables.set("key_text", key.secret);
          });
        },
      },
      {
        name: "A name twice",
        code: "name-taken",
        operation: "createKey",
        needsKey: true,
        body: { name: "{{key_name}}", rights: "read" },
      },
      {
        code: "key-refused",
        operation: "createKey",
        needsKey: true,
        body: { name: "{{key_name}}-over", rights: "read", expires_at: "2026-01-01T00:00:00Z" },
        about: "This one would have expired already.",
      },
      {
        name: "List keys",
        operation: "listKeys",
        needsKey: true,
        query: { limit: "1000" },
        test: () => {
          pm.test("the key is listed, without its text", () => {
            pm.response.to.have.status(200);
            const { keys } = pm.response.json();
            pm.expect(keys.map((key) => key.id)).to.include(pm.variables.get("key_id"));
            pm.expect(pm.response.text()).to.not.include(pm.variables.get("key_text"));
          });
        },
      },
      {
        name: "Show a key",
        operation: "getKey",
        path: "{{key_name}}",
        needsKey: true,
        test: () => {
          pm.test("by its name", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.json()).to.include({ id: pm.variables.get("key_id"), running_leases: 0 });
          });
        },
      },
      {
        name: "Show the caller",
        operation: "getSession",
        needsKey: true,
        token: "{{key_text}}",
        test: () => {
          pm.test("it has the rights of the key", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.json()).to.include({ via: "key", rights: "use", keys_exist: true });
          });
        },
      },
      {
        code: "forbidden",
        operation: "listKeys",
        needsKey: true,
        token: "{{key_text}}",
        about: "The key does not have the right `admin`.",
      },
      {
        name: "Rotate a key",
        operation: "rotateKey",
        path: "{{key_id}}",
        needsKey: true,
        body: { keep_old_seconds: 60 },
        test: () => {
          pm.test("the key has another text, and the old one stays valid for a minute", () => {
            pm.response.to.have.status(200);
            const { secret, rotating_until } = pm.response.json();
            pm.expect(secret).to.not.eql(pm.variables.get("key_text"));
            pm.expect(rotating_until).to.be.a("string");
            pm.collectionVariables.set("key_text", secret);
          });
        },
      },
      {
        name: "Make a code to sign in",
        operation: "createSessionCode",
        needsKey: true,
        token: "{{key_text}}",
        test: () => {
          pm.test("a code", () => {
            pm.response.to.have.status(201);
            const { code, expires_at } = pm.response.json();
            pm.expect(expires_at).to.be.a("string");
            pm.collectionVariables.set("code", code);
          });
        },
      },
      {
        name: "Sign in",
        operation: "startSession",
        needsKey: true,
        body: { code: "{{code}}" },
        headers: { Origin: "{{baseUrl}}" },
        test: () => {
          pm.test("the cookie is not readable for scripts", () => {
            pm.response.to.have.status(201);
            pm.expect(pm.response.json()).to.include({ via: "session", rights: "use" });
            pm.expect(pm.response.headers.get("Set-Cookie")).to.include("HttpOnly").and.to.include("SameSite=Strict");
          });
        },
      },
      {
        name: "Sign out",
        operation: "endSession",
        needsKey: true,
        token: "",
        headers: { Origin: "{{baseUrl}}" },
        test: () => {
          pm.test("the session is over", () => pm.response.to.have.status(204));
        },
      },
      {
        name: "End all sessions of a key",
        operation: "endKeySessions",
        path: "{{key_id}}",
        needsKey: true,
        test: () => {
          pm.test("none is left", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.json()).to.eql({ sessions_ended: 0 });
          });
        },
      },
      {
        name: "Revoke a key",
        operation: "revokeKey",
        path: "{{key_id}}",
        needsKey: true,
        test: () => {
          pm.test("the key is revoked", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.json().revoked_at).to.be.a("string");
          });
        },
      },
      {
        code: "unknown-key",
        operation: "getKey",
        path: "{{key_id}}",
        needsKey: true,
      },
      {
        name: "Search the audit log",
        operation: "searchAudit",
        needsKey: true,
        query: { action: "key.revoked", limit: "1" },
        test: () => {
          pm.test("the latest revocation is this one", () => {
            pm.response.to.have.status(200);
            const [entry] = pm.response.json().entries;
            pm.expect(entry.action).to.eql("key.revoked");
            pm.expect(entry.subject).to.include(pm.variables.get("key_name"));
          });
        },
      },
      {
        name: "Export the audit log",
        operation: "exportAudit",
        needsKey: true,
        query: { format: "csv" },
        test: () => {
          pm.test("CSV", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.headers.get("Content-Type")).to.include("text/csv");
          });
        },
      },
      {
        name: "List refused requests",
        operation: "listRefusals",
        needsKey: true,
        test: () => {
          pm.test("the refused requests of above", () => {
            pm.response.to.have.status(200);
            pm.expect(pm.response.text()).to.include("forbidden");
          });
        },
      },
    ],
  },
  {
    name: "Clear",
    about:
      "Ends **all** leases of the pool. It is last, and skipped unless the variable `allowClear` is `true`, so that it never runs by mistake.",
    requests: [
      {
        name: "End all leases",
        operation: "clearActiveTokens",
        about: "Skipped unless the variable `allowClear` is `true`.",
        before: () => {
          if (String(pm.variables.get("allowClear")) !== "true") {
            console.log("Skipped: allowClear is not true");
            pm.execution.skipRequest();
          }
        },
        test: () => {
          pm.test("all leases are over", () => {
            pm.response.to.have.status(200);
            const answer = pm.response.json();
            pm.expect(answer).to.include.all.keys("message", "tokens_cleared", "usages_updated");
            pm.expect(answer.tokens_cleared).to.be.at.least(0);
            pm.expect(answer.usages_updated).to.eql(answer.tokens_cleared);
          });
        },
      },
    ],
  },
];

/** Runs after every request. */
export const afterEach = () => {
  pm.test("the response has a request id", () => {
    pm.expect(pm.response.headers.get("X-Request-Id")).to.be.a("string").and.not.empty;
  });
  if (pm.response.code >= 400) {
    pm.test("an error is a problem document", () => {
      pm.expect(pm.response.headers.get("Content-Type")).to.match(/^application\/(problem\+)?json$/);
      const problem = pm.response.json();
      pm.expect(problem.type).to.eql(`urn:token-manager:problem:${problem.code}`);
      pm.expect(problem.status).to.eql(pm.response.code);
      pm.expect(problem.title).to.be.a("string").and.not.empty;
      pm.expect(problem.detail).to.be.a("string").and.not.empty;
      pm.expect(problem.error).to.be.a("string").and.not.empty;
    });
  }
  if (pm.response.code === 503) {
    pm.test("it says when to try again", () => {
      pm.expect(Number(pm.response.headers.get("Retry-After"))).to.be.at.least(1);
    });
  }
  if (pm.request.url.getPath().startsWith("/api/leases")) {
    pm.test("responses about leases have no token value", () => {
      pm.expect(pm.response.text()).to.not.include("token_value");
    });
  }
};

/** Variables: those with a value and a text are the environment's, too. */
export const variables = {
  baseUrl: ["http://localhost:4000", "Address of the server, without a trailing slash"],
  apiKey: ["", "API key that requests are sent with, if the server asks for one; an administrator's for the folder API keys"],
  userPrefix: ["postman", "Prefix of the users that take tokens"],
  fillAtMost: ["20", "Maximum number of tokens that a request takes to fill the pool; larger pools are left alone"],
  onLoopback: ["true", "Whether the server listens on loopback only, and so accepts local hosts only"],
  followEvents: ["false", "Whether to follow the stream of events, which never ends; not in a runner"],
  allowClear: ["false", "Whether the last request may end all leases of the pool"],
  user: [""],
  pool: [""],
  token_id: [""],
  lease_id: [""],
  fence: [""],
  fence_before: [""],
  started_at: [""],
  expires_at: [""],
  ended_at: [""],
  half: [""],
  key: [""],
  etag: [""],
  next: [""],
  last_event_id: [""],
  request_name: [""],
  ticket: [""],
  key_name: [""],
  key_id: [""],
  key_text: [""],
  code: [""],
  fillers: [""],
  asset: [""],
};
