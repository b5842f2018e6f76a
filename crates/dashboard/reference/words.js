// @ts-check

const en = {
  back: "Dashboard",
  title: "Send this request?",
  no: "Cancel",
  yes: "Send",
  clear: "It ends all leases of a pool. Holders get no warning.",
  release: "It ends a lease. The holder gets no warning.",
  drain: "It ends the lease of the token. The holder gets no warning.",
  delete: "It deletes or retires something, which can't be undone.",
  rotate: "It gives an API key a new secret. The present one is invalid at once, unless it is kept for a while.",
  sessions: "It signs browsers out.",
};

/** @type {typeof en} */
const pt = {
  back: "Dashboard",
  title: "Enviar esta requisição?",
  no: "Cancelar",
  yes: "Enviar",
  clear: "Ela encerra todos os leases de um pool. Os usuários não são avisados.",
  release: "Ela encerra um lease. O usuário não é avisado.",
  drain: "Ela encerra o lease do token. O usuário não é avisado.",
  delete: "Ela exclui ou retira algo, e isso não pode ser desfeito.",
  rotate: "Ela dá um novo segredo a uma chave de API. O atual deixa de valer na hora, a menos que seja mantido.",
  sessions: "Ela desconecta navegadores.",
};

/** @param {keyof typeof en} key */
export const word = (key) => (document.documentElement.lang === "pt-BR" ? pt : en)[key];
