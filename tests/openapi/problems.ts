// Problems in a client with types generated from the OpenAPI document. `code` selects the type; nothing
// here is cast.

import createClient from "openapi-fetch";
import type { components, paths } from "./generated/api.js";

type Schemas = components["schemas"];
type Api = ReturnType<typeof createClient<paths>>;

async function allocate(api: Api, user_id: string): Promise<Schemas["Allocation"]> {
  const { data, error } = await api.POST("/api/tokens/allocate", { body: { user_id } });
  if (error) throw new Error(error.code);
  if (data.status === "waiting") throw new Error(`number ${data.position} in the queue`);
  return data;
}

/** Problems of a pool with one token, `reject`, and one lease per user. */
export async function refused(baseUrl: string): Promise<string[]> {
  const api = createClient<paths>({ baseUrl });
  await allocate(api, "ann");
  const seen: string[] = [];
  for (const user_id of ["ann", "bob", ""]) {
    const { error } = await api.POST("/api/tokens/allocate", { body: { user_id } });
    if (error?.code === "user-limit") seen.push(`at most ${error.max_per_user + 0} for each user`);
    else if (error?.code === "pool-full") seen.push(`number ${error.position + 0} in the queue`);
    else seen.push(`${error?.status}: ${error?.detail}`);
  }
  return seen;
}

/** Problems of a pool with one token and `evict-oldest`. */
export async function over(baseUrl: string): Promise<string[]> {
  const api = createClient<paths>({ baseUrl });
  const ann = await allocate(api, "ann");
  const bob = await allocate(api, "bob");
  const seen: string[] = [];
  for (const { lease_id } of [ann, bob]) {
    const { error } = await api.POST("/api/leases/{id}/renew", { params: { path: { id: lease_id } } });
    if (error?.code === "lease-over") {
      const { end_reason, ended_at, evicted_by } = error;
      seen.push(`${end_reason} for bob: ${evicted_by === bob.lease_id && ended_at === bob.activated_at}`);
    } else if (error?.code === "renewal-limit") {
      seen.push(`until its deadline: ${error.expires_at === bob.expires_at}`);
    }
  }
  const { error } = await api.POST("/api/tokens/release/{id}", {
    params: { path: { id: ann.token_id } },
    body: { lease_id: ann.lease_id },
  });
  if (error?.code === "holder-mismatch") seen.push(`held by ${error.current?.user}`);
  const exported = await api.GET("/api/leases/export", { parseAs: "text" });
  seen.push(`${exported.data?.split("\n").length} lines of CSV`);
  return seen;
}
