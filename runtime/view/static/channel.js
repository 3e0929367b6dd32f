// Between the main window and the second one, of one browser.

export const CHANNEL = 'usert-view';
