// A small bridge between Matrix and DingTalk with mautrix-go's bridgev2, to be measured.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"maunium.net/go/mautrix/bridgev2/matrix/mxmain"
)

// Config is what the measurement tells every peer.
type Config struct {
	Homeserver   string            `json:"homeserver"`
	ServerName   string            `json:"server_name"`
	ASToken      string            `json:"as_token"`
	HSToken      string            `json:"hs_token"`
	Bot          string            `json:"bot"`
	Ghosts       string            `json:"ghosts"`
	Admin        string            `json:"admin"`
	MatrixPort   int               `json:"matrix_port"`
	DingTalkPort int               `json:"dingtalk_port"`
	DingTalk     string            `json:"dingtalk"`
	AppKey       string            `json:"app_key"`
	AppSecret    string            `json:"app_secret"`
	Chats        map[string]string `json:"chats"`
	Folder       string            `json:"folder"`
}

// The framework's own configuration; what is not here has the framework's default.
const template = `
homeserver:
    address: %[1]q
    domain: %[2]q
appservice:
    address: "http://127.0.0.1:%[3]d"
    hostname: 127.0.0.1
    port: %[3]d
    id: peer
    bot:
        username: %[4]q
    username_template: %[5]q
    as_token: %[6]q
    hs_token: %[7]q
database:
    type: sqlite3-fk-wal
    uri: %[8]q
bridge:
    personal_filtering_spaces: false
    relay:
        enabled: true
        message_formats:
            m.text: "[@{{ .Sender.DisambiguatedName }} via Matrix] {{ .Message }}"
    permissions:
        "*": relay
        %[9]q: admin
logging:
    min_level: warn
    writers:
        - type: stdout
          format: json
`

func (config *Config) framework() string {
	database := "file:" + filepath.Join(config.Folder, "peer.db") + "?_txlock=immediate"
	return fmt.Sprintf(template, config.Homeserver, config.ServerName, config.MatrixPort, config.Bot,
		config.Ghosts+"{{.}}", config.ASToken, config.HSToken, database, config.Admin)
}

func main() {
	config, path, err := load(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	bridge := mxmain.BridgeMain{
		Name:        "dingtalk-peer",
		Description: "A small bridge to be measured",
		Version:     "0.1.0",
		Connector:   &Connector{config: config},
	}
	bridge.InitVersion("", "", "")
	// As Run does, which would take the path of its configuration from the command line.
	bridge.ConfigPath = path
	bridge.LoadConfig()
	bridge.Init()
	bridge.Start()
	code := bridge.WaitForInterrupt()
	bridge.Stop()
	os.Exit(code)
}

// load reads what the measurement says and writes the framework's configuration beside it.
func load(path string) (*Config, string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, "", err
	}
	config := &Config{}
	if err = json.Unmarshal(text, config); err != nil {
		return nil, "", err
	}
	framework := filepath.Join(config.Folder, "peer.yaml")
	return config, framework, os.WriteFile(framework, []byte(config.framework()), 0o600)
}
