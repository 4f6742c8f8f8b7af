// Invented customers.
const DAY_MS = 86_400_000;
const t = (en, zh) => ({ en, zh });

export const CAMPAIGN = { id: 'demo', name: t('Broadband renewals', '宽带续约') };

export const SKIP_REASONS = [
  { key: 'bad_time', label: t('Bad time there', '当地时间不合适') },
  { key: 'language', label: t('I do not speak their language', '语言不通') },
  { key: 'recent_contact', label: t('Someone just talked to them', '刚刚联系过') },
  { key: 'data_wrong', label: t('The data looks wrong', '资料有误') },
];

const disposition = (key, en, zh, action, notes_min = 0, needs_callback_time = false) => ({ key, label: t(en, zh), action, notes_min, needs_callback_time });

export const DISPOSITIONS = [
  disposition('sold', 'Renewed', '已续约', 'final'),
  disposition('interested', 'Interested', '有意向', 'retry', 5),
  disposition('callback', 'Call back', '预约回拨', 'callback', 0, true),
  disposition('not_interested', 'Not interested', '无意向', 'final'),
  disposition('no_answer', 'No answer', '无人接听', 'retry'),
  disposition('busy', 'Busy', '忙线', 'retry'),
  disposition('wrong_number', 'Wrong number', '号码错误', 'wrong_number'),
  disposition('dnc', 'Do not call again', '不再来电', 'dnc'),
];

const field = (key, en, zh, value, kind = 'text') => ({ key, label: t(en, zh), value, kind });
const past = (days, result, disposition, notes, talk_ms = 0, recording = null) => ({ at_ms: Date.now() - days * DAY_MS, result, disposition, agent: 'Chen Jie', notes, talk_ms, recording });

export const LEADS = [
  {
    name: '王芳', company: '杭州云帆贸易有限公司', language: 'zh',
    phones: [
      { id: 1, display: '+86 138 **** 8000', kind: 'mobile', time_zone: 'Asia/Shanghai', utc_offset_s: 28_800, callable: true, why: null },
      { id: 2, display: '+86 571 **** 2210', kind: 'work', time_zone: 'Asia/Shanghai', utc_offset_s: 28_800, callable: false, why: 'outside_hours, cap_day' },
    ],
    fields: [
      field('product', 'Product', '产品', '企业宽带 500M'), field('contract_end', 'Contract ends', '合同到期', '2026-12-15', 'date'),
      field('monthly', 'Monthly fee', '月费', 'CNY 499.00', 'money'), field('city', 'City', '城市', '杭州'), field('segment', 'Segment', '客户等级', 'A'),
    ],
    history: [
      past(3, 'busy', 'busy', null), past(9, 'connected', 'interested', '客户希望了解 1000M 的价格，月底前再联系。', 184_000, 'rec-1'), past(40, 'no_answer', 'no_answer', null),
    ],
    why: t('Retry due since 10:15, busy last time', '10:15 到期重拨，上次忙线'),
  },
  {
    name: "Margaret O'Callaghan-Fitzgerald", company: 'Northwind Logistics', language: 'en',
    phones: [{ id: 3, display: '+1 212 *** 0134', kind: 'mobile', time_zone: 'America/New_York', utc_offset_s: -18_000, callable: true, why: null }],
    fields: [
      field('product', 'Product', '产品', 'Business fibre 1 Gbit/s'), field('contract_end', 'Contract ends', '合同到期', '2027-01-31', 'date'),
      field('monthly', 'Monthly fee', '月费', 'USD 129.00', 'money'), field('city', 'City', '城市', 'New York'),
    ],
    history: [],
    why: t('New lead, list spring', '新名单，春季列表'),
  },
  {
    name: '<b>Bobby</b> & "Sons"', company: '{{ 7*7 }}', language: 'en',
    phones: [{ id: 4, display: '+44 20 **** 0199', kind: 'landline', time_zone: 'Europe/London', utc_offset_s: 0, callable: true, why: null }],
    fields: [field('product', 'Product', '产品', '<img src=x onerror=alert(1)>')],
    history: [past(1, 'connected', 'callback', '<script>alert(1)</script>', 61_000, 'rec-2')],
    why: t('Callback promised for now', '约定的回拨'),
  },
];

export function crm_of(card) {
  return [
    { title: t('Orders', '订单'), fields: [{ label: t('Last order', '最近订单'), value: '2026-10-02 · #88213' }, { label: t('This year', '本年度'), value: '4 · CNY 6,120.00' }] },
    { title: t('Service', '服务'), fields: [{ label: t('Open tickets', '未结工单'), value: '1 · router restarts' }, { label: t('Satisfaction', '满意度'), value: '8 / 10' }, { label: t('Account', '账户'), value: `C-${10_000 + card.lead}` }] },
  ];
}

export function script_of(lead, agent) {
  const zh = `您好，请问是${lead.name}吗？我是云帆通信的${agent.name}。\n\n感谢您一直使用我们的企业宽带。您的合同即将到期，现在续约可以免费升级到 1000M，价格保持不变。\n\n请问您现在方便花两分钟了解一下吗？\n\n如果客户犹豫：可以先为您保留这个优惠一周，我下周再给您来电，您看哪天方便？`;
  const en = `Hello, am I speaking with ${lead.name}? This is ${agent.name} from Northwind Telecom.\n\nThank you for having been with us for so long. Your contract ends soon, and if you renew now you move to the next speed at the same price.\n\nDo you have two minutes for me to go through it?\n\nIf they hesitate: I can hold this offer for a week and call you back. Which day suits you?`;
  return { title: lead.language === 'zh' ? '续约开场白' : 'Renewal opening', text: lead.language === 'zh' ? zh : en };
}
