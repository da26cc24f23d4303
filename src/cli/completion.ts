/** `pcnk completion`: scripts that teach a shell what may come next. */
import { Argument, Command } from "@commander-js/extra-typings";

const shells = ["bash", "zsh", "fish"] as const;
export type Shell = typeof shells[number];

/** The `completion` subcommand. */
export function command() {
  return new Command("completion")
    .description(
      "Print a completion script for commands, options and names. Names of Services and Pods come from this node's maps and need root.",
    )
    .addArgument(new Argument("<shell>", "Shell").choices(shells))
    .addHelpText("after", help)
    .action((shell) => console.log(SCRIPTS[shell].trim()));
}

const help = `
Examples:
  source <(pcnk completion bash)                                    this shell; in ~/.bashrc: each
  pcnk completion bash > /etc/bash_completion.d/pcnk
  pcnk completion zsh > /usr/local/share/zsh/site-functions/_pcnk
  pcnk completion fish > ~/.config/fish/completions/pcnk.fish
`;

/** Each asks `pcnk __complete SHELL LINE`: the first line of the answer says what kind it is, the others are the words. */
const SCRIPTS: Record<Shell, string> = {
  bash: `
# bash completion of pcnk
_pcnk() {
  local kind='' line
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ -z $kind ]]; then kind=$line; else COMPREPLY+=("$line"); fi
  done < <("$1" __complete bash "\${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
  case $kind in
    :files) compopt -o default ;;
    :dirs) compopt -o dirnames ;;
  esac
  if [[ \${#COMPREPLY[@]} == 1 && \${COMPREPLY[0]} == *= ]]; then compopt -o nospace; fi
}
complete -F _pcnk pcnk
`,
  zsh: `
#compdef pcnk
_pcnk() {
  local kind='' line
  local -a found
  while IFS= read -r line; do
    if [[ -z $kind ]]; then kind=$line; else found+=("$line"); fi
  done < <("$words[1]" __complete zsh "\${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)
  case $kind in
    :files) _files ;;
    :dirs) _files -/ ;;
    *) _describe pcnk found ;;
  esac
}
if [[ $funcstack[1] == _pcnk ]]; then _pcnk "$@"; else compdef _pcnk pcnk; fi
`,
  fish: `
# fish completion of pcnk
function __pcnk_complete
    set -l line (commandline -cp)
    set -l answer (pcnk __complete fish "$line" 2>/dev/null)
    switch "$answer[1]"
        case :files
            __fish_complete_path (commandline -ct)
        case :dirs
            __fish_complete_directories (commandline -ct)
        case :words
            if test (count $answer) -gt 1
                printf '%s\\n' $answer[2..-1]
            end
    end
end
complete -c pcnk -f -a '(__pcnk_complete)'
`,
};
