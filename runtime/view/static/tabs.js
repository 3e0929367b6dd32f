// Tabs after the pattern of WAI-ARIA: of the panels of a list one is shown; a click or the arrow keys choose. Knows elements
// only. A tab whose panel is empty is not offered.

export function makeTabs(list) {
  const tabs = [...list.querySelectorAll('[role=tab]')].filter((tab) => panelOf(tab).childElementCount);
  for (const tab of list.querySelectorAll('[role=tab]')) tab.hidden = !tabs.includes(tab);
  list.hidden = tabs.length < 2;
  const choose = (chosen) => {
    for (const tab of list.querySelectorAll('[role=tab]')) {
      tab.setAttribute('aria-selected', String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
      panelOf(tab).hidden = tab !== chosen;
    }
  };
  for (const tab of tabs) tab.addEventListener('click', () => choose(tab));
  list.addEventListener('keydown', ({ key }) => {
    const at = tabs.indexOf(document.activeElement);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tabs.length - 1 }[key];
    if (at < 0 || to === undefined) return;
    const tab = tabs[(to + tabs.length) % tabs.length];
    choose(tab);
    tab.focus();
  });
  choose(tabs[0]);
}

// Bring the panel of that id to the front.
export function openTab(id) {
  document.querySelector(`[role=tab][aria-controls=${id}]`).click();
}

const panelOf = (tab) => document.getElementById(tab.getAttribute('aria-controls'));
