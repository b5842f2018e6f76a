// @ts-check

/** @type {{ [K in keyof typeof import("./en.js").en]: (typeof import("./en.js").en)[K] }} */
export const pt = {
  // a página
  skip: "Pular para os tokens",
  themeToDark: "Mudar para o tema escuro",
  themeToLight: "Mudar para o tema claro",
  otherLanguage: "English",
  otherLanguageShort: "EN",
  copy: "Copiar",
  copied: "Copiado",
  copyFailed: "Selecione e copie à mão",
  close: "Fechar",
  ago: "há {length}",

  // conexão
  connecting: "Conectando",
  live: "Ao vivo",
  lost: "Sem conexão",
  notLive: "Sem atualização",
  lostTitle: "Sem conexão com o servidor.",
  streamsTitle: "Limite de visualizações ao vivo atingido.",
  unreadTitle: "Não é possível ler os tokens.",
  lostSince: "Mostrando dados de {time} ({ago}).",
  lostRetry: "Reconectando …",
  streamsRetry: "Os dados são atualizados a cada 20 segundos, aproximadamente.",
  announceLost: "Os dados estão desatualizados.",
  upgraded: "Há uma nova versão.",
  upgradedLoad: "Recarregar",
  announceBack: "Conectado de novo. Os dados estão atualizados.",

  // cabeçalho
  overview: "O pool",
  inUse: "em uso",
  ofSize: "de {size}",
  available: "livres",
  waiting: "na fila",
  policyLease: "Um lease dura {lease}.",
  policyRenew: "Um lease dura {lease} e pode ser renovado até {max}.",
  policyEvict: "Com todos os tokens em uso, um novo pedido encerra o lease mais antigo.",
  policyEvictHold:
    "Com todos os tokens em uso, um novo pedido encerra o lease mais antigo, "
    + "desde que ele tenha pelo menos {hold}.",
  policyReject: "Com todos os tokens em uso, novos pedidos são recusados.",
  policyWait: "Com todos os tokens em uso, novos pedidos entram na fila.",
  policyUser: {
    one: "Cada usuário pode ter {count} token por vez.",
    other: "Cada usuário pode ter {count} tokens por vez.",
  },

  // gráfico
  chartTitle: "Últimos 10 minutos",
  chartInUse: "Tokens em uso",
  chartAllocations: "Alocações",
  chartExpiries: "Vencimentos",
  chartEvictions: "Retomadas",
  chartFrom: "há 10 min",
  chartNow: "agora",
  chartSays:
    "Os últimos 10 minutos. Em uso agora: {active} de {size}. Alocações: {allocations}. "
    + "Vencimentos: {expiries}. Retomadas: {evictions}.",

  // grade
  tokens: "Tokens",
  gridHelp: "Use as setas para ir de um token a outro e Enter para ver os detalhes.",
  gridLoading: "Carregando os tokens",
  token: "Token {number}",
  tokenInText: "token {number}",
  cellFree: "Token {number}, livre",
  cellHeld: "Token {number}, com {user}, restam {left}",
  cellHeldStale: "Token {number}, com {user} na última atualização",
  nextToExpire: "próximo a vencer",
  nextToEvict: "próximo a ser retomado",
  markExpire: "próximo a vencer",
  markEvict: "próximo a sair",
  markBoth: "próximo",
  legendHeld: "em uso, com o tempo restante",
  legendFree: "livre",
  calloutExpire: "Próximo a vencer:",
  calloutEvict: "Próximo a ser retomado:",
  calloutHolder: "{user} no {token}",
  left: "restam {left}",
  overviewHelp:
    "Mapa de {count} tokens. As setas movem o cursor, Page Up e Page Down de dez em dez linhas, "
    + "Enter mostra um token.",
  overviewIdle: "Passe o mouse sobre um token, ou mova o cursor com as setas.",

  // primeira visita
  emptyTitle: "Nenhum token em uso ainda",
  emptyText: "Digite um nome em Alocar para pegar o primeiro, ou use um terminal:",
  noTokensTitle: "Este pool não tem tokens",
  noTokensText:
    "Ele foi criado com --pool-size 0. Inicie o servidor com um banco novo e um número maior.",

  // busca
  search: "Buscar",
  searchHint: "Usuário, número ou id",
  searchFound: { one: "{count} token agora", other: "{count} tokens agora" },
  searchFirst: "mostrando os primeiros {count}",
  searchNone: "Nada encontrado: nenhum usuário com esse nome está com um token, e nenhum id começa assim.",
  searchPast: "Leases anteriores de {user}",
  searchPastFailed: "Não foi possível ler os leases anteriores. {why}",
  searchHeld: "restam {left}",

  // alocar
  allocate: "Alocar",
  allocateTitle: "Alocar um token",
  allocateUser: "Usuário",
  allocateUserHint: "um nome, ou qualquer texto",
  allocateFor: "Duração do lease",
  allocateMost: "Esperar até",
  lengthWrong: "Digite a duração com a unidade, como 90s, 10m ou 8h (máximo: {max}).",
  allocateBusy: "Alocando …",
  allocateWaiting: "Na fila …",
  allocateWaitSays: "Você é o número {position} da fila. Desistindo em {left}.",
  allocateWaitAgain:
    "Você perdeu o lugar enquanto o servidor estava fora do ar. Agora é o número {position} da "
    + "fila. Desistindo em {left}.",
  allocateWaitLost:
    "Reconectando. Seu lugar na fila fica guardado enquanto o servidor estiver fora do ar, e por 15 "
    + "segundos se só a sua conexão caiu.",
  giveUp: "Desistir",
  allocateGivenUp: "Você saiu da fila. Nenhum token foi alocado.",
  allocated: "{user} está com o {token}.",
  allocatedOver: "{user} recebeu o {token}, mas esse lease já terminou.",
  allocatedEvicted: "O lease de {user} foi encerrado para isso.",

  // fila
  queue: "Fila",
  queueYou: "você",
  queueWaited: "há {length}",
  queueMore: { one: "e mais {count}", other: "e mais {count}" },

  // limpar
  clear: "Encerrar todos …",
  clearTitle: "Encerrar todos os leases?",
  clearCount: {
    one: "{count} token é retomado imediatamente de quem está com ele.",
    other: "{count} tokens são retomados imediatamente de quem está com eles.",
  },
  clearNone: "Nenhum dos {count} tokens está em uso.",
  clearOld:
    "Dados de {time}: a página está sem atualização, e "
    + "o número pode ter mudado.",
  clearText:
    "Os usuários não são avisados. Os programas percebem ao usar, renovar ou liberar o lease.",
  clearConfirm: "Encerrar todos",
  clearBusy: "Encerrando …",
  cancel: "Cancelar",
  cleared: { one: "{count} lease foi encerrado.", other: "{count} leases foram encerrados." },

  // gaveta
  drawerId: "Id do token",
  drawerValue: "Valor do token",
  drawerLease: "Id do lease",
  drawerHolder: "Em uso por",
  drawerFree: "Livre",
  drawerFreeText: "Este token não está em uso.",
  drawerUntil: "até {time}",
  drawerSince: "desde {time}",
  drawerUnknown: "Este pool não tem esse token.",
  drawerLoading: "Carregando …",
  release: "Liberar",
  releaseBusy: "Liberando …",
  released: "O lease de {user} no {token} foi liberado.",
  releaseTitle: "Liberar o token {number}?",
  releaseWhose: "Ele está em uso por {user}.",
  releaseText:
    "O usuário não é avisado. Os programas percebem ao usar, renovar ou liberar o "
    + "lease.",
  releaseOver: "Esse lease já terminou.",
  renew: "Renovar",
  renewBusy: "Renovando …",
  renewed: "Renovado até {time}.",
  history: "Histórico",
  historyNone: "Este token ainda não foi usado.",
  historyMore: "Mostrar leases anteriores",
  historyLoading: "Carregando …",
  historyEnd: "Não há leases anteriores.",
  historyFailed: "Não foi possível ler o histórico. {why}",
  reasonRunning: "Em curso",
  "reason-released": "Liberado",
  "reason-expired": "Vencido",
  "reason-evicted": "Retomado",
  reasonEvictedFor: "Retomado para {user}",
  "reason-cleared": "Todos encerrados",
  "reason-imported": "Importado",
  heldFor: "durou {length}",
  heldSoFar: "há {length}",

  // eventos
  events: "Eventos",
  pause: "Pausar",
  resume: "Retomar",
  pausedCount: {
    one: "{count} evento novo",
    other: "{count} eventos novos",
  },
  eventsNone: "Nenhum evento ainda. Eles aparecem aqui em tempo real.",
  eventsNoneLately: "Nenhum evento nos últimos 10 minutos. Eles aparecem aqui em tempo real.",
  eventStarted: "{token} alocado",
  eventRenewed: "{token} renovado",
  "event-released": "{token} liberado",
  "event-expired": "{token} vencido",
  "event-evicted": "{token} retomado",
  "event-cleared": "{token} liberado (todos encerrados)",
  "event-imported": "{token} liberado",
  eventFor: "para {user}",
  eventHeldBy: "em uso por {user}",
  eventWasHeldBy: "estava com {user}",

  // o que deu errado, e o que fazer
  problem: "{detail}",
  unreachable: "O servidor não está acessível.",
  "problem-not-sent":
    "O servidor não está acessível. Nada foi enviado nem alterado. Verifique se ele está no "
    + "ar; a página se reconecta sozinha.",
  "problem-unreachable":
    "A conexão caiu antes da resposta, e não foi possível confirmar se isso foi feito. Confira os "
    + "tokens quando a página estiver ao vivo de novo.",
  "problem-give-up-lost":
    "O servidor não está acessível, e não foi possível sair da fila. Seu lugar expira em 15 "
    + "segundos; até lá um token ainda pode ser alocado para você.",
  "problem-ticket-given-up": "Outra janela ou outro programa desistiu deste lugar na fila.",
  "problem-too-many-tabs":
    "Você já está esperando em outras abas. Espere uma delas, ou desista dela.",
  "problem-pool-full":
    "Todos os tokens estão em uso. Tente de novo mais tarde, ou libere um.",
  "problem-queue-full": "A fila está cheia. Tente de novo mais tarde.",
  "problem-no-tokens": "Este pool não tem nenhum token.",
  "problem-user-limit": "Este usuário atingiu o limite de tokens. Libere um deles antes.",
  "problem-invalid-user": "Digite um nome de 1 a 255 caracteres.",
  "problem-unstorable-user": "O banco de dados não consegue guardar este nome. Escolha outro.",
  "problem-lease-over": "Esse lease já tinha terminado. Nada foi alterado.",
  "problem-holder-mismatch": "O token já está com outro usuário. Nada foi alterado.",
  "problem-renewal-limit": "Este lease não pode mais ser renovado. Aloque de novo quando ele terminar.",
  "problem-unknown-token": "Este pool não tem esse token.",
  "problem-unknown-lease": "Esse lease não existe mais.",
  "problem-not-done":
    "O banco de dados está indisponível. Nada foi alterado. Tente de novo em instantes.",
  "problem-busy": "O servidor está ocupado. Nada foi alterado. Tente de novo em instantes.",
  "problem-stopping": "O servidor está encerrando. Tente de novo quando ele voltar.",
  "problem-outcome-unknown":
    "Não foi possível confirmar se isso foi feito. Confira os tokens antes de tentar de novo.",
  "problem-timed-out":
    "Demorou demais, e não foi possível confirmar se isso foi feito. Confira os tokens antes de tentar de novo.",
  "problem-idempotency-full":
    "Limite de chaves de idempotência atingido. Tente de novo mais tarde.",
  "problem-cross-origin":
    "O servidor recusou por parecer um pedido de outro site. Recarregue esta página.",
  "problem-host-not-allowed": "O servidor não aceita este nome de host. Abra-o como localhost.",
};
