// A tour with types generated from the OpenAPI document: members that the document lacks do not compile.

import createClient from "openapi-fetch";
import type { components, paths } from "./generated/api.js";

type Schemas = components["schemas"];

/** The response, or its problem as an error. */
function given<T>({ data, error, response }: { data?: T; error?: unknown; response: Response }): T {
  if (data === undefined) throw new Error(`${response.status} ${JSON.stringify(error)}`);
  return data;
}

const word = (problem: { code: string } | undefined): string | undefined => problem?.code;

/** The lease of an allocation that does not wait. */
function lease(allocated: Schemas["Allocation"] | Schemas["Waiting"]): Schemas["Allocation"] {
  if (allocated.status === "waiting") throw new Error(`number ${allocated.position} in the queue`);
  return allocated;
}

/** Uses a pool of two tokens with renewable leases, and returns a line for each step. */
export async function tour(baseUrl: string): Promise<string[]> {
  const api = createClient<paths>({ baseUrl });
  const seen: string[] = [];
  const allocate = async (user_id: string, lease_seconds?: number): Promise<Schemas["Allocation"]> =>
    lease(given(await api.POST("/api/tokens/allocate", { body: { user_id, lease_seconds } })));
  const shown = async (id: string): Promise<Schemas["LeaseDetails"]> =>
    given(await api.GET("/api/leases/{id}", { params: { path: { id } } }));

  const edivan = await allocate("Edivan");
  const ann = await allocate("ann", 30);
  seen.push(`${edivan.user} and ${ann.user} have ${edivan.status} leases, ${edivan.fence} and ${ann.fence}`);
  const tokens = given(await api.GET("/api/tokens"));
  seen.push(`of ${tokens.length} tokens, held: ${tokens.filter(({ status }) => status === "active").length}`);

  const cid = await allocate("cid");
  seen.push(`${cid.user} evicted ${cid.evicted?.user}`);
  const past = await shown(edivan.lease_id);
  seen.push(`${past.user}: ${past.end_reason}, now ${past.current?.user}`);

  const renewed = given(
    await api.POST("/api/leases/{id}/renew", { params: { path: { id: ann.lease_id } } }),
  );
  seen.push(`renewed: ${renewed.expires_at > ann.expires_at}, for ${renewed.expires_in} s`);
  const path = { id: ann.lease_id };
  given(await api.POST("/api/leases/{id}/release", { params: { path } }));
  const late = await api.POST("/api/leases/{id}/renew", { params: { path } });
  seen.push(`${late.response.status} ${word(late.error)}`);

  const held = await api.POST("/api/tokens/release/{id}", {
    params: { path: { id: cid.token_id } },
    body: { lease_id: edivan.lease_id },
  });
  seen.push(`${held.response.status} ${word(held.error)}`);
  const history = given(
    await api.GET("/api/tokens/{id}/history", { params: { path: { id: cid.token_id } } }),
  );
  seen.push(`history: ${history.history.map(({ user, end_reason }) => `${user} ${end_reason}`).join(", ")}`);

  const key = { "Idempotency-Key": '"tour-1"' };
  const again = async (): Promise<string> =>
    lease(
      given(
        await api.POST("/api/tokens/allocate", {
          params: { header: key },
          body: { user_id: "dora", wait_seconds: 5 },
        }),
      ),
    ).lease_id;
  seen.push(`the same key, the same lease: ${(await again()) === (await again())}`);

  const bad = await api.POST("/api/tokens/allocate", { body: { user_id: "" } });
  seen.push(`${bad.response.status} ${word(bad.error)}`);
  const cleared = given(await api.DELETE("/api/tokens/clear-active"));
  seen.push(`cleared: ${cleared.tokens_cleared}`);
  const ended = given(await api.GET("/api/leases", { params: { query: { status: "ended" } } }));
  seen.push(`ended: ${ended.leases.map(({ user, end_reason }) => `${user} ${end_reason}`).join(", ")}`);
  const pool = given(await api.GET("/api/pool"));
  seen.push(`${pool.policy.when_full}, ${pool.active} of ${pool.size}`);
  return seen;
}

/** Waits on a pool of one token: until the time is up, then until the token is released. */
export async function wait(baseUrl: string): Promise<string[]> {
  const api = createClient<paths>({ baseUrl });
  const body = (user_id: string, wait_seconds: number) => ({ body: { user_id, wait_seconds } });
  const first = lease(given(await api.POST("/api/tokens/allocate", body("ann", 0))));
  const vain = await api.POST("/api/tokens/allocate", body("bob", 0.05));
  const waiting = api.POST("/api/tokens/allocate", body("cid", 20));
  for (let tries = 0; given(await api.GET("/api/pool")).waiting === 0; tries += 1) {
    if (tries > 500) throw new Error("the queue is empty");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const params = { path: { id: first.lease_id } };
  given(await api.POST("/api/leases/{id}/release", { params }));
  const next = lease(given(await waiting));
  const ticket = given(
    await api.POST("/api/tokens/allocate", {
      params: { header: { "Idempotency-Key": "tour-2", Prefer: "wait=0" } },
      ...body("dan", 600),
    }),
  );
  const place = ticket.status === "waiting" ? ticket : undefined;
  const path = { ticket: place?.ticket ?? "" };
  const given_up = given(await api.DELETE("/api/queue/{ticket}", { params: { path } }));
  return [
    `${vain.response.status} ${word(vain.error)}, again after ${vain.response.headers.get("retry-after") !== null}`,
    `${next.user} has the token of ${first.user}: ${next.token_value === first.token_value}`,
    `dan is number ${place?.position}, and has ${given_up.status} the place`,
  ];
}
