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
  streamsTitle: "O servidor não tem lugar para mais uma visão ao vivo.",
  unreadTitle: "Não é possível ler os tokens.",
  lostSince: "Os números são os de {time}, {ago}.",
  lostRetry: "Tentando de novo automaticamente.",
  streamsRetry: "Eles são lidos de novo a cada 20 segundos, mais ou menos.",
  announceLost: "Os números são antigos.",
  upgraded: "O servidor foi atualizado; esta página ainda é a de antes.",
  upgradedLoad: "Carregar a página nova",
  announceBack: "Conectado de novo. Os números são atuais.",

  // cabeçalho
  overview: "O pool",
  inUse: "em uso",
  ofSize: "de {size}",
  available: "livres",
  waiting: "na fila",
  policyLease: "Um lease dura {lease}.",
  policyRenew: "Um lease dura {lease} e pode ser renovado até durar {max}.",
  policyEvict: "Com todos os tokens em uso, o lease mais antigo dá lugar a quem pede.",
  policyEvictHold:
    "Com todos os tokens em uso, o lease mais antigo dá lugar a quem pede, "
    + "depois de ter durado {hold}.",
  policyReject: "Com todos os tokens em uso, quem pede é recusado.",
  policyWait: "Com todos os tokens em uso, quem pede espera, por ordem de chegada.",
  policyUser: {
    one: "Cada usuário pode ter {count} token por vez.",
    other: "Cada usuário pode ter {count} tokens por vez.",
  },

  // gráfico
  chartTitle: "Últimos 10 minutos",
  chartInUse: "Tokens em uso",
  chartAllocations: "Alocações",
  chartExpiries: "Vencimentos",
  chartEvictions: "Desalojamentos",
  chartFrom: "há 10 min",
  chartNow: "agora",
  chartSays:
    "Os últimos 10 minutos. Em uso agora: {active} de {size}. Alocações: {allocations}. "
    + "Vencimentos: {expiries}. Desalojamentos: {evictions}.",

  // grade
  tokens: "Tokens",
  gridHelp: "As setas vão de token em token, Enter mostra um.",
  gridLoading: "Carregando os tokens",
  token: "Token {number}",
  tokenInText: "token {number}",
  cellFree: "Token {number}, livre",
  cellHeld: "Token {number}, com {user}, restam {left}",
  cellHeldStale: "Token {number}, com {user} na última notícia",
  nextToExpire: "próximo a vencer",
  nextToEvict: "próximo a ser desalojado",
  markExpire: "vence a seguir",
  markEvict: "sai a seguir",
  markBoth: "próximo",
  legendHeld: "em uso, com o tempo restante",
  legendFree: "livre",
  calloutExpire: "Próximo a vencer:",
  calloutEvict: "Próximo a ser desalojado:",
  calloutHolder: "{user} no {token}",
  left: "restam {left}",
  overviewHelp:
    "Mapa de {count} tokens. As setas movem o cursor, Page Up e Page Down de dez em dez linhas, "
    + "Enter mostra um token.",
  overviewIdle: "Aponte para um token, ou mova o cursor com as setas.",

  // primeira visita
  emptyTitle: "Ninguém tem um token ainda",
  emptyText: "Escreva um nome em Alocar e pegue o primeiro, ou peça em um terminal:",
  noTokensTitle: "Este pool não tem tokens",
  noTokensText:
    "Ele foi criado com --pool-size 0. Inicie o servidor em um banco novo com um número maior.",

  // busca
  search: "Buscar",
  searchHint: "Usuário, número ou id",
  searchFound: { one: "{count} token agora", other: "{count} tokens agora" },
  searchFirst: "listados os primeiros {count}",
  searchNone: "Ninguém com esse nome tem um token agora, e nenhum id começa assim.",
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
  lengthWrong: "Escreva a duração com a unidade, como 90s, 10m ou 8h, e no máximo {max}.",
  allocateBusy: "Pedindo …",
  allocateWaiting: "Na fila …",
  allocateWaitSays: "Você é o número {position} da fila. A espera termina em {left}.",
  allocateWaitAgain:
    "Você perdeu o lugar enquanto o servidor estava fora do ar. Agora é o número {position} da "
    + "fila. A espera termina em {left}.",
  allocateWaitLost:
    "Reconectando. Seu lugar na fila fica guardado enquanto o servidor estiver fora do ar, e por 15 "
    + "segundos se só a sua conexão caiu.",
  giveUp: "Desistir",
  allocateGivenUp: "Você saiu da fila. Nenhum token foi alocado.",
  allocated: "{user} tem o {token}.",
  allocatedOver: "{user} recebeu o {token}, mas esse lease já terminou.",
  allocatedEvicted: "O lease de {user} deu lugar a ele.",

  // fila
  queue: "Fila",
  queueYou: "você",
  queueWaited: "há {length}",
  queueMore: { one: "e mais {count}", other: "e mais {count}" },

  // limpar
  clear: "Encerrar todos …",
  clearTitle: "Encerrar todos os leases?",
  clearCount: {
    one: "{count} token é tirado na hora de quem está com ele.",
    other: "{count} tokens são tirados na hora de quem está com eles.",
  },
  clearNone: "{count} tokens: ninguém está com um agora, e não há nada a encerrar.",
  clearOld:
    "Isso era às {time}: a página está sem atualização, e "
    + "podem ser mais ou menos agora.",
  clearText:
    "Ninguém é consultado. Os programas descobrem ao usar, renovar ou liberar o seu lease.",
  clearConfirm: "Encerrar todos",
  clearBusy: "Encerrando …",
  cancel: "Cancelar",
  cleared: { one: "{count} lease foi encerrado.", other: "{count} leases foram encerrados." },

  // gaveta
  drawerId: "Id do token",
  drawerValue: "Valor do token",
  drawerLease: "Id do lease",
  drawerHolder: "Dono",
  drawerFree: "Livre",
  drawerFreeText: "Ninguém tem este token.",
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
    "Quem está com ele não é avisado. Os programas percebem quando usam, renovam ou liberam o "
    + "lease.",
  releaseOver: "Esse lease já terminou.",
  renew: "Renovar",
  renewBusy: "Renovando …",
  renewed: "Renovado até {time}.",
  history: "Histórico",
  historyNone: "Ninguém teve este token ainda.",
  historyMore: "Mostrar leases anteriores",
  historyLoading: "Carregando …",
  historyEnd: "Isso é tudo.",
  historyFailed: "Não foi possível ler o histórico. {why}",
  reasonRunning: "Em curso",
  reasonReleased: "Liberado",
  reasonExpired: "Vencido",
  reasonEvicted: "Desalojado",
  reasonEvictedFor: "Desalojado por {user}",
  reasonCleared: "Encerrado com todos os outros",
  reasonImported: "Importado",
  heldFor: "durou {length}",
  heldSoFar: "há {length}",

  // eventos
  events: "Eventos",
  pause: "Pausar",
  resume: "Retomar",
  pausedCount: {
    one: "{count} evento nesse meio-tempo",
    other: "{count} eventos nesse meio-tempo",
  },
  eventsNone: "Nada aconteceu ainda. O que acontece com os leases aparece aqui.",
  eventsNoneLately: "Nada nos últimos 10 minutos. O que acontece com os leases aparece aqui.",
  eventStarted: "{token} alocado",
  eventRenewed: "{token} renovado",
  eventReleased: "{token} liberado",
  eventExpired: "{token} vencido",
  eventEvicted: "{token} retomado",
  eventCleared: "{token} encerrado com todos os outros",
  eventFor: "para {user}",
  eventHeldBy: "em uso por {user}",
  eventWasHeldBy: "estava com {user}",

  // o que deu errado, e o que fazer
  problem: "{detail}",
  unreachable: "O servidor não está acessível.",
  "problem-not-sent":
    "O servidor não está acessível. Nada foi enviado, e por isso nada mudou. Veja se ele está no "
    + "ar; a página se reconecta sozinha.",
  "problem-unreachable":
    "A conexão caiu antes da resposta, e não foi possível confirmar se isso foi feito. Confira os "
    + "tokens quando a página estiver ao vivo de novo.",
  "problem-give-up-lost":
    "O servidor não está acessível, e não foi possível sair da fila. O lugar é liberado em 15 "
    + "segundos; até lá um token ainda pode ser alocado para você.",
  "problem-ticket-given-up": "Alguém desistiu deste lugar na fila em outra janela ou programa.",
  "problem-too-many-tabs":
    "Você já está esperando em outras abas. Espere uma delas, ou desista dela.",
  "problem-pool-full":
    "Todos os tokens estão em uso. Tente de novo mais tarde, ou libere um.",
  "problem-queue-full": "Já há gente demais à espera de um token. Tente de novo mais tarde.",
  "problem-no-tokens": "Este pool não tem nenhum token.",
  "problem-user-limit": "Este usuário já tem quantos tokens pode ter. Libere um deles antes.",
  "problem-invalid-user": "Escreva um nome de 1 a 255 caracteres.",
  "problem-refused": "O banco de dados não consegue guardar este nome. Escolha outro.",
  "problem-lease-over": "Esse lease já tinha terminado, e por isso nada foi feito.",
  "problem-holder-mismatch": "O token já está com outra pessoa, e por isso nada foi feito.",
  "problem-renewal-limit": "Este lease não pode durar mais. Aloque de novo quando ele terminar.",
  "problem-unknown-token": "Este pool não tem esse token.",
  "problem-unknown-lease": "Esse lease não existe mais.",
  "problem-not-done":
    "O banco de dados está fora. Nada foi feito; tente de novo daqui a pouco.",
  "problem-busy": "O servidor está ocupado. Nada foi feito; tente de novo daqui a pouco.",
  "problem-stopping": "O servidor está encerrando. Tente de novo quando ele voltar.",
  "problem-outcome-unknown":
    "Não se sabe se isso foi feito. Confira os tokens antes de tentar de novo.",
  "problem-timed-out":
    "Demorou demais, e pode ter sido feito ou não. Confira os tokens antes de tentar de novo.",
  "problem-idempotency-full":
    "O servidor não consegue lembrar mais pedidos agora. Tente de novo mais tarde.",
  "problem-cross-origin":
    "O servidor recusou por parecer vir de outro site. Recarregue esta página.",
  "problem-host-not-allowed": "O servidor não atende por este endereço. Abra-o como localhost.",
};
