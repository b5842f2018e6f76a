// @ts-check
// The policy of a pool: in sentences, and the fields of its form.

export const policy = {
  policyLease: "A lease lasts {lease}.",
  policyRenew: "A lease lasts {lease} and can be renewed up to {max}.",
  policyEvict: "When all tokens are in use, a new request ends the oldest lease.",
  policyEvictHold:
    "When all tokens are in use, a new request ends the oldest lease, "
    + "but none younger than {hold}.",
  policyReject: "When all tokens are in use, new requests are refused.",
  policyWait: "When all tokens are in use, new requests wait in a queue.",
  policyUser: {
    one: "Each user may hold {count} token at a time.",
    other: "Each user may hold {count} tokens at a time.",
  },
  "policy-fixed": "Its tokens are fixed.",
  "policy-open": "Its tokens can be added, changed and retired.",
  "policy-everyone": "Everyone sees the values of its tokens.",
  "policy-holder": "Only holders see the values of its tokens.",

  formLease: "Length of a lease",
  formMax: "Renewable up to",
  formFull: "When all tokens are in use",
  formFullEvict: "end the oldest lease",
  formFullWait: "new requests wait",
  formFullReject: "refuse new requests",
  formHold: "Never evict before",
  formUser: "Leases per user",
  formMembership: "Tokens",
  formOpen: "can change",
  formFixed: "are fixed",
  formValues: "Values are shown to",
  formEveryone: "everyone",
  formHolder: "the holder",
  formNoLimit: "no limit",
  formAsLease: "as the lease",
  formNothing: "nothing",
};
