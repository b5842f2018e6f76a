// @ts-check
// The policy of a pool: in sentences, and the fields of its form.

/** @type {{ [K in keyof typeof import("./en.js").policy]: (typeof import("./en.js").policy)[K] }} */
export const policy = {
  policyLease: "Um lease dura {lease}.",
  policyRenew: "Um lease dura {lease} e pode chegar a {max} com renovações.",
  policyEvict: "Com todos os tokens em uso, um novo pedido encerra o lease mais antigo.",
  policyEvictHold:
    "Com todos os tokens em uso, um novo pedido encerra o lease mais antigo, "
    + "desde que ele tenha começado há pelo menos {hold}.",
  policyReject: "Com todos os tokens em uso, novos pedidos são recusados.",
  policyWait: "Com todos os tokens em uso, novos pedidos entram na fila.",
  policyUser: {
    one: "Cada usuário pode ter {count} token por vez.",
    other: "Cada usuário pode ter {count} tokens por vez.",
  },
  "policy-fixed": "Os tokens são fixos.",
  "policy-open": "Tokens podem ser adicionados, alterados e removidos.",
  "policy-everyone": "Todos veem os valores dos tokens.",
  "policy-holder": "Só quem está com o token vê o valor.",

  formLease: "Duração do lease",
  formMax: "Renovável até",
  formFull: "Com todos os tokens em uso",
  formFullEvict: "encerrar o lease mais antigo",
  formFullWait: "novos pedidos esperam",
  formFullReject: "recusar novos pedidos",
  formHold: "Não revogar antes de",
  formUser: "Leases por usuário",
  formMembership: "Tokens",
  formOpen: "podem mudar",
  formFixed: "são fixos",
  formValues: "Valores visíveis para",
  formEveryone: "todos",
  formHolder: "quem está com o token",
  formNoLimit: "sem limite",
  formAsLease: "igual ao lease",
  formNothing: "vazio",
};
