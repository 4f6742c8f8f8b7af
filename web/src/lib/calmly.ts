/** A mouse click leaves no focus behind, so that Space keeps meaning "next action"; the Tab key's focus stays. */
export function calmly(then: () => void): (event: MouseEvent) => void {
  return (event) => {
    if (event.detail > 0 && event.currentTarget instanceof HTMLElement) event.currentTarget.blur();
    then();
  };
}
