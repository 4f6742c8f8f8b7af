/** Which floating things are open: keys and buttons both open them. */
export const open = $state({ skip: false, dnc: false, not_ready: false, recent: false, keys: false, settings: false, transfer: false });
