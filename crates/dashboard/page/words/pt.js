// @ts-check
import { access } from "./access/pt.js";
import { acts } from "./acts/pt.js";
import { policy } from "./policy/pt.js";

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
  copyFailed: "Selecione e copie manualmente",
  close: "Fechar",
  ago: "há {length}",

  // conexão
  connecting: "Conectando",
  live: "Ao vivo",
  lost: "Sem conexão",
  notLive: "Não está ao vivo",
  lostTitle: "Sem conexão com o servidor.",
  streamsTitle: "Limite de conexões em tempo real atingido.",
  unreadTitle: "Não foi possível carregar os tokens.",
  lostSince: "Mostrando dados de {time} ({ago}).",
  lostRetry: "Reconectando …",
  streamsRetry: "Os dados são atualizados aproximadamente a cada 20 segundos.",
  announceLost: "Os dados estão desatualizados.",
  upgraded: "Nova versão disponível.",
  upgradedLoad: "Recarregar",
  announceBack: "Conexão restabelecida. Os dados estão atualizados.",

  // quadro
  allPools: "Todos os pools",
  unknownPool: "Pool desconhecido",
  unknownPoolTitle: "Nenhum pool se chama {pool}.",
  unknownPoolText:
    "Talvez ele tenha sido excluído, ou ainda não exista. Assim que existir, esta página vai mostrá-lo.",
  offTainted: "Fora de uso",
  offBecause: "Fora de uso: {reason}",
  offRetiring: "Saindo do pool",
  offLater: "Sai do pool quando este lease terminar",
  legendOff: "fora de uso",
  outOfUse: "fora de uso",
  drawerOff: "Fora de uso",
  drawerLabels: "Labels",
  drawerTaints: "Taints",
  "taint-note": "Nota",
  "taint-no-new-leases": "Sem novos leases",
  "taint-end-lease": "Drenado",
  taintSet: "desde {time}",
  taintBy: "por {user}, desde {time}",
  allocateToken: "Token",
  allocateAny: "qualquer um",
  allocateNote: "Nota",
  allocateNoteHint: "para que serve; todos podem ver",
  queueWants: "quer {token}",
  noTokensOpen: "Adicione tokens aqui, ou descreva-os em um documento e aplique-o:",
  noTokensFixed:
    "Os tokens dele são fixos. Para adicionar tokens, mude membership para open, aqui ou em um documento:",
  footLinks: "Mais deste servidor",
  footReference: "Referência da API",
  footMetrics: "Métricas",

  // cabeçalho
  headline: "O pool",
  inUse: "em uso",
  ofSize: "de {size}",
  available: "livres",
  waiting: "na fila",

  // gráfico
  chartTitle: "Últimos 10 minutos",
  chartInUse: "Tokens em uso",
  chartAllocations: "Alocações",
  chartExpiries: "Vencimentos",
  chartEvictions: "Revogações",
  chartFrom: "há 10 min",
  chartNow: "agora",
  chartSays:
    "Os últimos 10 minutos. Em uso agora: {active} de {size}. Alocações: {allocations}. "
    + "Vencimentos: {expiries}. Revogações: {evictions}.",

  // grade
  tokens: "Tokens",
  gridHelp: "Use as setas para ir de um token a outro e Enter para ver os detalhes.",
  gridLoading: "Carregando os tokens",
  token: "Token {number}",
  tokenInText: "token {number}",
  cellFree: "Token {number}, livre",
  cellHeld: "Token {number}, com {user} por mais {left}",
  cellHeldStale: "Token {number}, com {user} na última atualização",
  nextToExpire: "próximo a vencer",
  nextToEvict: "próximo a ser revogado",
  markExpire: "1º a vencer",
  markEvict: "1º a sair",
  markBoth: "próximo",
  legendHeld: "em uso, com o tempo restante",
  legendFree: "livre",
  calloutExpire: "Próximo a vencer:",
  calloutEvict: "Próximo a ser revogado:",
  calloutHolder: "{user} no {token}",
  left: "por mais {left}",
  mapHelp:
    "Mapa de {count} tokens. Use as setas para mover o cursor, Page Up e Page Down para pular dez linhas "
    + "e Enter para ver os detalhes.",
  mapIdle: "Passe o mouse sobre um token, ou mova o cursor com as setas.",

  // primeira visita
  emptyTitle: "Nenhum token em uso ainda",
  emptyText: "Digite um nome em Alocar para pegar o primeiro, ou use o terminal:",
  noTokensTitle: "Este pool não tem tokens",

  // busca
  search: "Buscar",
  searchHint: "Usuário, número ou id",
  searchFound: { one: "{count} token agora", other: "{count} tokens agora" },
  searchFirst: "mostrando os primeiros {count}",
  searchNone: "Nada encontrado: nenhum usuário com esse nome tem um token, e nenhum id começa assim.",
  searchPast: "Leases anteriores de {user}",
  searchPastFailed: "Não foi possível carregar os leases anteriores. {why}",
  searchHeld: "por mais {left}",

  // alocar
  allocate: "Alocar",
  allocateTitle: "Alocar um token",
  allocateUser: "Usuário",
  allocateUserHint: "um nome, ou qualquer texto",
  allocateFor: "Duração do lease",
  allocateMost: "Espera máxima",
  lengthWrong: "Digite a duração com a unidade, como 90s, 10m ou 8h (máximo: {max}).",
  allocateBusy: "Alocando …",
  allocateWaiting: "Na fila …",
  allocateWaitSays: "Sua posição na fila: {position}. O pedido expira em {left}.",
  allocateWaitAgain:
    "Você perdeu o lugar enquanto o servidor estava fora do ar. Sua nova posição na fila: {position}. "
    + "O pedido expira em {left}.",
  allocateWaitLost:
    "Reconectando. Seu lugar na fila fica guardado enquanto o servidor estiver fora do ar, ou por 15 "
    + "segundos, se só a sua conexão caiu.",
  giveUp: "Sair da fila",
  allocateGivenUp: "Você saiu da fila. Nenhum token foi alocado.",
  allocated: "{user} está com o {token}.",
  allocatedOver: "{user} recebeu o {token}, mas esse lease já terminou.",
  allocatedEvicted: "Para isso, o lease de {user} foi encerrado.",

  // fila
  queue: "Fila",
  queueYou: "você",
  queueWaited: "há {length}",
  queueMore: { one: "e mais {count}", other: "e mais {count}" },

  // limpar
  clear: "Encerrar todos …",
  clearTitle: "Encerrar todos os leases?",
  clearCount: {
    one: "{count} lease será encerrado imediatamente.",
    other: "{count} leases serão encerrados imediatamente.",
  },
  clearNone: "Nenhum dos {count} tokens está em uso.",
  clearOld:
    "Dados de {time}: a página não está ao vivo, e "
    + "o número pode ter mudado.",
  clearText:
    "Os usuários não são avisados. Os programas só percebem ao usar, renovar ou liberar o lease.",
  clearConfirm: "Encerrar todos",
  clearBusy: "Encerrando …",
  cancel: "Cancelar",
  cleared: { one: "{count} lease foi encerrado.", other: "{count} leases foram encerrados." },

  // gaveta
  drawerId: "Id do token",
  drawerValue: "Valor do token",
  drawerHolderOnly: "Quem está com o token recebe o valor.",
  drawerLease: "Id do lease",
  drawerHolder: "Em uso por",
  drawerFree: "Livre",
  drawerFreeText: "Este token não está em uso.",
  drawerUntil: "até {time}",
  drawerSince: "desde {time}",
  drawerUnknown: "Esse token não existe neste pool.",
  drawerLoading: "Carregando …",
  release: "Liberar",
  releaseBusy: "Liberando …",
  released: "O lease de {user} no {token} foi liberado.",
  releaseTitle: "Liberar o token {number}?",
  releaseWhose: "Ele está em uso por {user}.",
  releaseText:
    "O usuário não é avisado. Os programas só percebem ao usar, renovar ou liberar o "
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
  historyFailed: "Não foi possível carregar o histórico. {why}",
  reasonRunning: "Ativo",
  "reason-released": "Liberado",
  "reason-expired": "Vencido",
  "reason-evicted": "Revogado",
  reasonEvictedFor: "Revogado para atender {user}",
  "reason-cleared": "Encerrado (todos)",
  "reason-imported": "Importado",
  "reason-drained": "Token drenado",
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
  "event-evicted": "{token}: lease revogado",
  "event-cleared": "{token} liberado (todos encerrados)",
  "event-imported": "{token} liberado",
  "event-drained": "{token} liberado (token drenado)",
  eventFor: "para {user}",
  eventHeldBy: "em uso por {user}",
  eventWasHeldBy: "estava com {user}",

  // visão geral
  skipToPools: "Pular para os pools",
  sums: "Total de todos os pools",
  pools: "Pools",
  poolsCount: { one: "{count} pool", other: "{count} pools" },
  poolsLoading: "Carregando os pools",
  poolsNone: "Nenhum pool tem isso no nome ou na descrição.",
  poolsFound: { one: "{count} pool encontrado.", other: "{count} pools encontrados." },
  poolsHelp: "As setas passam de um pool para outro, Enter abre um.",
  columnPool: "pool",
  tainted: "fora de uso",
  usedOf: "{active} de {size}",
  columnDeadline: "próximo prazo",
  columnFull: "quando lota",
  fullEvict: "encerra o lease mais antigo",
  fullReject: "recusa pedidos",
  fullWait: "põe pedidos na fila",
  newPool: "Novo pool …",
  searchAll: "Buscar em todos os pools",
  searchAllHint: "Pool, token, usuário ou id",
  foundCount: { one: "{count} token encontrado.", other: "{count} tokens encontrados." },
  foundPart: "Busca feita nos tokens de {searched} de {count} pools.",
  searchElsewhere: "Em outros pools",
  searchPool: "Pool",
  searchNoneHere: "Nada encontrado neste pool.",

  // meus leases
  mine: { one: "Meu lease", other: "Meus {count} leases" },
  mineAll: { one: "Mostrar todos ({count})", other: "Mostrar todos ({count})" },
  mineFewer: "Mostrar menos",

  // o que deu errado, e o que fazer
  problem: "{detail}",
  unreachable: "Não foi possível acessar o servidor.",
  "problem-not-sent":
    "Não foi possível acessar o servidor. Nada foi enviado nem alterado. Verifique se ele está no "
    + "ar; a página se reconecta sozinha.",
  "problem-unreachable":
    "A conexão caiu antes da resposta, e não foi possível confirmar se a operação foi concluída. "
    + "Confira os tokens quando a página estiver ao vivo de novo.",
  "problem-give-up-lost":
    "Não foi possível acessar o servidor para sair da fila. Seu lugar expira em 15 segundos; "
    + "até lá, um token ainda pode ser alocado para você.",
  "problem-ticket-given-up": "Este lugar na fila foi cancelado por outra janela ou outro programa.",
  "problem-too-many-tabs":
    "Você já está esperando em outras abas. Aguarde, ou saia da fila em uma delas.",
  "problem-pool-full":
    "Todos os tokens estão em uso. Tente de novo mais tarde, ou libere um.",
  "problem-queue-full": "A fila está cheia. Tente de novo mais tarde.",
  "problem-no-tokens": "Este pool não tem nenhum token.",
  "problem-user-limit": "Este usuário atingiu o limite de tokens. Libere um deles antes.",
  "problem-invalid-user": "Digite um nome de 1 a 255 caracteres.",
  "problem-unstorable-user": "O banco de dados não consegue armazenar este nome. Escolha outro.",
  "problem-lease-over": "Esse lease já tinha terminado. Nada foi alterado.",
  "problem-holder-mismatch": "O token já está com outro usuário. Nada foi alterado.",
  "problem-renewal-limit": "Este lease não pode mais ser renovado. Aloque de novo quando ele terminar.",
  "problem-unknown-token": "Esse token não existe neste pool.",
  "problem-unknown-lease": "Esse lease não existe mais.",
  "problem-not-done":
    "O banco de dados está indisponível. Nada foi alterado. Tente de novo em instantes.",
  "problem-busy": "O servidor está ocupado. Nada foi alterado. Tente de novo em instantes.",
  "problem-stopping": "O servidor está sendo desligado. Tente de novo quando ele voltar.",
  "problem-outcome-unknown":
    "Não foi possível confirmar se a operação foi concluída. Confira os tokens antes de tentar de novo.",
  "problem-timed-out":
    "A operação demorou demais, e não foi possível confirmar se foi concluída. "
    + "Confira os tokens antes de tentar de novo.",
  "problem-idempotency-full":
    "Limite de chaves de idempotência atingido. Tente de novo mais tarde.",
  "problem-cross-origin":
    "O servidor recusou a requisição porque ela parece vir de outro site. Recarregue esta página.",
  "problem-host-not-allowed": "O servidor não aceita este nome de host. Acesse a página por localhost.",

  // table, chart, changes of pools
  ...acts,
  ...policy,

  // chaves de API, login
  ...access,
};
